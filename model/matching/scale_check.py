"""Scales that were stated and may be wrong: when another one is tried, what it has to explain, and how far to trust it.

A scale is stated with an error, and now and then it is simply wrong: another camera length, another unit. Of 60
validation patterns at their right scale, no explanation at another gains more than 6 in ln likelihood; where the scale
was off by 5 to 20 % and the pattern had 80 spots or more, the true crystal gained 60 to 1,400 at its own, mostly.
"""

from math import exp, log

from model.matching.match import Match

MAX_LOG_SCALE_DEVIATION = 0.29
"""How far a scale may be off that nothing fits, as a logarithm: a third either way."""
POOR_R_FACTOR = 0.15
"""A fit that leaves more may owe it to the scale."""
# More spots besides its lattice, and an explanation at another scale explains too little to doubt what was stated.
MOST_EXTRA = 0.15
# By how much its ln likelihood has to be larger: for any other scale, and for each unit of its logarithm.
CLEARLY_BETTER, FARTHER_BETTER = 10.0, 20.0
# Without intensities only which beams are seen tells; that is modelled roughly, so many spots differ by chance.
_BETTER_OF_A_SPOT = 0.25
# Stated scales are wrong the more seldom, the more: by a factor e for each of this, as a logarithm.
_WRONG_BY = 0.25


def is_scale_doubtful(best: Match | None) -> bool:
    """Whether the best explanation at the scale that was stated is so poor that others should be tried."""
    return best is None or best.r_factor is None or best.r_factor > POOR_R_FACTOR


def explains_better(other: Match, score: float) -> bool:
    """Whether an explanation at another scale is so much better than the best at the scale that was stated.

    Args:
        other: the explanation.
        score: the highest at the scale that was stated; -inf where there is none.
    """
    if other.extra > MOST_EXTRA:
        return False
    margin = CLEARLY_BETTER + FARTHER_BETTER * abs(log(other.scale))
    if other.r_factor is None:
        margin = max(margin, _BETTER_OF_A_SPOT * other.reflections.spots)
    return other.score > score + margin


def compute_probability_factor(scale: float) -> float:
    """What a probability is worth that rests on a scale by which a stated one is wrong."""
    return exp(-abs(log(scale)) / _WRONG_BY)


def describe_scale_deviation(scale: float) -> str:
    """What to say of a scale by which a stated one is wrong."""
    return (
        f"Nothing fits nearly as well at the scale given. It was taken to be off by {100 * (scale - 1):+.1f} %, which "
        "the probabilities pay for; check pixel_size (or the units) with a known crystal."
    )
