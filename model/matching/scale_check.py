"""Decide when a stated scale may be wrong, and by how much a wrong scale lowers the probabilities.

A scale is stated with an uncertainty, and now and then it is simply wrong: another camera length, another unit. Of 60
validation patterns at their right scale, no explanation at another scale gains more than 6 in ln likelihood. Where the
scale was off by 5 to 20 % and the pattern had 80 spots or more, the true crystal gained 60 to 1,400 at its own scale,
with few exceptions.
"""

from math import exp, log

from model.matching.match import Match

MAX_LOG_SCALE_DEVIATION = 0.29
"""Largest |ln scale| at which crystals are searched where nothing fits: a third either way."""
MAX_R_FACTOR = 0.15
"""A larger R-factor may be due to a wrong scale."""
MAX_EXTRA = 0.15
"""Largest share of extra spots in an explanation that overrules the stated scale."""
MIN_GAIN, MIN_GAIN_PER_LOG_SCALE = 10.0, 20.0
"""Smallest gain in ln likelihood that overrules the stated scale, and what is added for each unit of |ln scale|."""
# Without intensities only the visibility of reflections is modeled, and roughly, so that many spots differ by chance.
_MIN_GAIN_PER_SPOT = 0.25
# Large errors of a stated scale are rare: their frequency falls by a factor e for each of these, as |ln scale|.
_LOG_SCALE_SPREAD = 0.25


def is_scale_doubtful(best: Match | None) -> bool:
    """Whether the best match at the stated scale is so poor that other scales should be tried."""
    return best is None or best.r_factor is None or best.r_factor > MAX_R_FACTOR


def explains_better(other: Match, score: float) -> bool:
    """Whether a match at another scale is so much better than the best at the stated scale that it overrules it.

    Args:
        other: the match at another scale.
        score: the highest score at the stated scale; -inf where there is none.
    """
    if other.extra > MAX_EXTRA:
        return False
    margin = MIN_GAIN + MIN_GAIN_PER_LOG_SCALE * abs(log(other.scale))
    if other.r_factor is None:
        margin = max(margin, _MIN_GAIN_PER_SPOT * other.reflections.spots)
    return other.score > score + margin


def compute_probability_factor(scale: float) -> float:
    """Return the factor for probabilities that depend on a scale (measured over stated lengths) other than 1."""
    return exp(-abs(log(scale)) / _LOG_SCALE_SPREAD)


def describe_scale_deviation(scale: float) -> str:
    """Return the warning for a best fit at a scale other than the stated one."""
    size, direction = 100 * abs(scale - 1), "larger" if scale > 1 else "smaller"
    return (
        f"No crystal fits nearly as well at the stated scale. The best fit needs a scale {size:.1f} % {direction} "
        f"(match.scale is {scale:.3f}); probabilities were reduced accordingly. Check pixel_size or units with a known "
        "crystal."
    )
