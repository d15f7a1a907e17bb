"""How sure an answer may be: the probability of each candidate, and of none of them.

Scores are logarithms of a likelihood whose noise is only roughly known, so they are tempered; whether the crystal is
among the candidates at all is judged by how well the best of them explains the pattern. Both were fitted, by maximum
likelihood, to simulated patterns of validation crystals in and out of the index, of random spots and of broken rings
(`bench/confidence.py --fit`), and are measured on patterns of test crystals (the same without `--fit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.matching.depth import Effort
from model.matching.match import Match

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Verdict = Literal["match", "ambiguous", "no_match"]

SURE = 0.9
TYPICAL_SPOTS = 40
ALIKE = 3.0


@dataclass(frozen=True)
class Calibration:
    """What was fitted.

    Attributes:
        temperature: by which differences of scores are divided.
        known: weights of `evidence` in the log odds that the crystal is among the candidates.
        unknown_below: probability that it is among them, under which the verdict is "no_match".
        masses: probability that the candidates up to the true one have together, in so many of the cases as
            COVERAGES says.
    """

    temperature: float
    known: tuple[float, ...]
    unknown_below: float
    masses: tuple[float, ...]


COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
# Printed by --fit: of 900 queries with seed 1, and of 250 with seed 2 and --effort full.
CALIBRATIONS: dict[Effort, Calibration] = {
    "verify": Calibration(
        3.15,
        (1.485, -4.622, -0.562, -11.848, 1.127, -3.969),
        0.287,
        (0.15, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.995),
    ),
    "full": Calibration(
        3.67,
        (2.099, -3.737, -6.119, -7.949, 0.689, -3.298),
        0.597,
        (0.15, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.995),
    ),
}


@dataclass(frozen=True)
class Confidence:
    """How sure an answer is.

    Attributes:
        probability: (C,) of each candidate; NaN where it was not refined. They sum to at most 1, the rest is "none of
            these".
        verdict: "match" where one candidate has at least 0.9, "no_match" where likely none is right, else "ambiguous".
        groups: (C,) number of the group of candidates that the data hardly tell apart, from 1; 0 where not refined.
    """

    probability: FloatArray
    verdict: Verdict
    groups: IntArray

    @property
    def known(self) -> float:
        """Probability that the crystal is among the candidates."""
        return float(np.nansum(self.probability))

    def set_size(self, coverage: float, total: int, calibration: Calibration) -> int:
        """How many candidates, in the order of the ranking, hold the crystal in a share `coverage` of all cases.

        A conformal set: of the patterns of crystals that are in the index, in this share the crystal is in it. The
        probability that the candidates have together is compared with that in which the true one was found when
        this was calibrated. Where those that were refined have not enough, the others follow, each one less likely
        than that before.

        Args:
            coverage: wanted share, 0.5 to 0.99.
            total: number of crystals that could have been candidates.
            calibration: what was fitted.
        """
        mass = float(np.interp(coverage, COVERAGES, calibration.masses))
        stated = np.sort(self.probability[~np.isnan(self.probability)])[::-1]
        together = np.cumsum(stated)
        if len(stated) and mass < together[-1]:
            return max(int(np.searchsorted(together, mass, side="right")), 1)
        left = (1 - mass) / max(1 - self.known, 1e-9)
        place = floor(max(len(stated), 1) / max(left, 1e-9))
        return max(min(place, total), min(len(stated), total), 1)

    def mass_until(self, place: int) -> float:
        """Probability that the first candidates, up to a place in the ranking (from 0), have together."""
        stated = np.sort(self.probability[~np.isnan(self.probability)])[::-1]
        if place < len(stated):
            return float(stated[: place + 1].sum())
        # Beyond them the chance not to have met the crystal yet falls as one over the place.
        return 1 - (1 - self.known) * max(len(stated), 1) / (place + 1)


def evidence(best: Match, spots: int) -> FloatArray:
    """(6,) what tells whether the best candidate explains a pattern of so many spots."""
    r_factor = 0.0 if best.r_factor is None else best.r_factor
    return np.array([1.0, best.extra, best.missing, r_factor, log(spots / TYPICAL_SPOTS), 1 - best.explained])


def confidence(
    matches: Sequence[Match | None], values: FloatArray, spots: int, calibration: Calibration
) -> Confidence:
    """Probabilities and verdict.

    Args:
        matches: of the C candidates.
        values: (C,) by which refined candidates are ranked, ln likelihood and similarity together.
        spots: number of spots of the pattern.
        calibration: what was fitted.
    """
    probability = np.full(len(matches), np.nan)
    refined = np.array([row for row, match in enumerate(matches) if match is not None], dtype=np.int64)
    groups = np.zeros(len(matches), dtype=np.int64)
    if not len(refined):
        return Confidence(probability, "no_match", groups)
    tempered = (values[refined] - values[refined].max()) / calibration.temperature
    best = matches[refined[tempered.argmax()]]
    assert best is not None
    known = 1 / (1 + exp(-float(evidence(best, spots) @ np.array(calibration.known))))
    probability[refined] = known * np.exp(tempered) / np.exp(tempered).sum()
    groups[refined] = _groups(tempered)
    if known < calibration.unknown_below:
        return Confidence(probability, "no_match", groups)
    return Confidence(probability, "match" if np.nanmax(probability) >= SURE else "ambiguous", groups)


def _groups(tempered: FloatArray) -> IntArray:
    """Numbers from 1: who is less than `ALIKE` times as unlikely as the first of a group belongs to it."""
    groups = np.zeros(len(tempered), dtype=np.int64)
    number, first = 0, np.inf
    for row in np.argsort(-tempered, kind="stable"):
        if number == 0 or first - tempered[row] > log(ALIKE):
            number, first = number + 1, tempered[row]
        groups[row] = number
    return groups
