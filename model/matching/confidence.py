"""How sure an answer may be: the probability of each candidate, and of none of them.

Scores are logarithms of a likelihood whose noise is only roughly known, so they are tempered, and sometimes say
nothing; whether the crystal is among those refined at all is judged by how well the best of them explains the pattern,
and by how large the crowd is that they were taken from. All of it was fitted, by maximum likelihood, to simulated
patterns of validation crystals in and out of the index, of random spots, broken rings and bulk zones
(`bench/confidence.py --fit`), and is measured on patterns of test crystals (the same without `--fit`).
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
class ConfidenceCalibration:
    """What was fitted.

    Attributes:
        temperature: by which differences of scores are divided, for a pattern of TYPICAL_SPOTS.
        growth: power of the number of spots with which the temperature grows: their errors are not independent.
        astray: probability that the scores say nothing, the crystal being among the candidates.
        known: weights of `evidence` in the log odds that the crystal is among those refined.
        unknown_below: probability that it is among them, under which the verdict is "no_match".
        missed: of the patterns whose crystal was not among them, the share whose crystal is in the index.
        masses: probability that the candidates before the true one have together, the crystal being in the index, at
            most, in so many of the cases as COVERAGES says.
    """

    temperature: float
    growth: float
    astray: float
    known: tuple[float, ...]
    unknown_below: float
    missed: float
    masses: tuple[float, ...]

    def tempered(self, values: FloatArray, spots: int) -> FloatArray:
        """(C,) values less the largest, over the temperature for so many spots."""
        return np.asarray(
            (values - values.max()) / (self.temperature * (spots / TYPICAL_SPOTS) ** self.growth)
        )

    def shares(self, tempered: FloatArray) -> FloatArray:
        """(C,) probability of each candidate, one of them being the crystal."""
        share = np.exp(tempered) / np.exp(tempered).sum()
        return np.asarray((1 - self.astray) * share + self.astray / len(tempered))


COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
# Printed by --fit: of 5,000 queries with seed 1; of 1,000 with seed 2 and --effort full.
CALIBRATIONS: dict[Effort, ConfidenceCalibration] = {
    "verify": ConfidenceCalibration(
        temperature=1.033,
        growth=0.3133,
        astray=0.0012,
        known=(5.926, -4.495, -6.491, -19.5, -0.03626, -5.177, -0.7408),
        unknown_below=0.229,
        missed=0.114,
        masses=(0.0, 0.0, 0.0, 0.0, 0.7825, 0.9725, 0.9906, 0.9935),
    ),
    "full": ConfidenceCalibration(
        temperature=1.125,
        growth=-0.02361,
        astray=0.004,
        known=(4.701, -6.12, -7.663, -16.0, -0.0847, -4.089, -0.1883),
        unknown_below=0.502,
        missed=0.005,
        masses=(0.0, 0.0, 0.0, 0.0, 0.5698, 0.8073, 0.9114, 0.9895),
    ),
}


@dataclass(frozen=True)
class Confidence:
    """How sure an answer is.

    Attributes:
        probability: (C,) of each candidate; NaN where it was not refined. They sum to at most 1, the rest is "none of
            these".
        verdict: "match" where one candidate has at least 0.9, "no_match" where likely none is right, else "ambiguous".
        equivalence_groups: (C,) number of the group of candidates not distinguishable, from 1; 0 if unrefined.
    """

    probability: FloatArray
    verdict: Verdict
    equivalence_groups: IntArray

    @property
    def known(self) -> float:
        """Probability that the crystal is among those refined."""
        return float(np.nansum(self.probability))

    def set_size(self, coverage: float, total: int, calibration: ConfidenceCalibration) -> int:
        """How many candidates, in the order of the ranking, hold the crystal in a share `coverage` of all cases.

        A conformal set: of the patterns of crystals that are in the index, in this share the crystal is in it. It ends
        where the candidates before have together the probability that those before the true one had in this share of
        the cases by which it was calibrated. Where those that were refined have not enough, the others follow, each
        less likely than the one before.

        Args:
            coverage: wanted share, 0.5 to 0.99.
            total: number of crystals that could have been candidates.
            calibration: what was fitted.
        """
        if not total:
            return 0
        mass = float(np.interp(coverage, COVERAGES, calibration.masses))
        among = self._among(calibration)
        before = among * self._before()
        if mass < among:
            return max(int(np.searchsorted(before, mass, side="right")), 1)
        left = (1 - mass) / max(1 - among, 1e-9)
        return max(min(floor(max(len(before), 1) / max(left, 1e-9)) + 1, total), 1)

    def mass_before(self, place: int, calibration: ConfidenceCalibration) -> float:
        """Probability that the candidates before a place (from 0) have together, counted as by `set_size`."""
        before, among = self._before(), self._among(calibration)
        if place < len(before):
            return float(among * before[place])
        # Beyond those refined the chance not to have met the crystal yet falls as one over the place.
        return 1 - (1 - among) * max(len(before), 1) / max(place, 1)

    def _among(self, calibration: ConfidenceCalibration) -> float:
        """Probability that the crystal is among those refined, if it is in the index."""
        return self.known / max(self.known + calibration.missed * (1 - self.known), 1e-9)

    def _before(self) -> FloatArray:
        """(R,) of the refined, the likeliest first: the share of their probability that those before have."""
        stated = np.sort(self.probability[~np.isnan(self.probability)])[::-1]
        shares = stated / max(float(stated.sum()), 1e-300)
        return np.concatenate([[0.0], np.cumsum(shares)[:-1]])[: len(shares)]


def compute_evidence(best: Match, spots: int, alike: int) -> FloatArray:
    """(7,) what tells whether the crystal is among the refined.

    Args:
        best: how the best of them explains the pattern.
        spots: number of spots of the pattern.
        alike: how many candidates are so similar by the towers that they should be computed: of a crowd the crystal
            is easily missed.
    """
    r_factor = 0.0 if best.r_factor is None else best.r_factor
    pattern = (best.extra, best.missing, r_factor, log(spots / TYPICAL_SPOTS), 1 - best.explained)
    return np.array([1.0, *pattern, log(1 + alike)])


def estimate_confidence(
    matches: Sequence[Match | None],
    values: FloatArray,
    spots: int,
    alike: int,
    calibration: ConfidenceCalibration,
) -> Confidence:
    """Probabilities and verdict.

    Args:
        matches: of the C candidates.
        values: (C,) by which refined candidates are ranked, ln likelihood and similarity together.
        spots: number of spots of the pattern.
        alike: how many candidates are so similar that they should be computed (`evidence`).
        calibration: what was fitted.
    """
    probability = np.full(len(matches), np.nan)
    refined = np.array([row for row, match in enumerate(matches) if match is not None], dtype=np.int64)
    groups = np.zeros(len(matches), dtype=np.int64)
    if not len(refined):
        return Confidence(probability, "no_match", groups)
    tempered = calibration.tempered(values[refined], spots)
    best = matches[refined[tempered.argmax()]]
    assert best is not None
    known = 1 / (1 + exp(-float(compute_evidence(best, spots, alike) @ np.array(calibration.known))))
    probability[refined] = known * calibration.shares(tempered)
    groups[refined] = _groups(tempered)
    if known < calibration.unknown_below:
        return Confidence(probability, "no_match", groups)
    return Confidence(probability, "match" if np.nanmax(probability) >= SURE else "ambiguous", groups)


def lower_verdict(verdict: Verdict | None, probability: float) -> Verdict | None:
    """A verdict after the highest probability has been lowered to this."""
    return "ambiguous" if verdict == "match" and probability < SURE else verdict


def _groups(tempered: FloatArray) -> IntArray:
    """Numbers from 1: who is less than `ALIKE` times as unlikely as the first of a group belongs to it."""
    groups = np.zeros(len(tempered), dtype=np.int64)
    number, first = 0, np.inf
    for row in np.argsort(-tempered, kind="stable"):
        if number == 0 or first - tempered[row] > log(ALIKE):
            number, first = number + 1, tempered[row]
        groups[row] = number
    return groups
