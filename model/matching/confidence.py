"""Probabilities of the candidates, the verdict, and the confidence set.

Scores are ln likelihoods whose noise is known only approximately. They are divided by a temperature, and sometimes they
carry no information. Whether the crystal is among the refined candidates at all follows from how well the best of them
explains the pattern, and from how many similar candidates they were chosen. All constants were fitted by maximum
likelihood to simulated patterns of validation crystals in and out of the index, of random spots, broken rings and bulk
zones (`python -m bench.confidence INDEX --fit`); the same without `--fit` measures their accuracy on
test crystals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor, log
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from model.matching.depth import VerificationEffort

if TYPE_CHECKING:
    from model.matching.match import Match

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Verdict = Literal["match", "ambiguous", "no_match"]

MIN_MATCH_PROBABILITY = 0.9
"""Smallest probability of the first candidate for the verdict "match"."""
TYPICAL_SPOTS = 40
MAX_EQUIVALENT_RATIO = 3.0
"""Candidates less than this factor less probable than the first of a group are equivalent to it."""
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Coverages for which confidence sets are calibrated."""


@dataclass(frozen=True)
class ConfidenceCalibration:
    """The fitted constants of one effort.

    Attributes:
        temperature: divides differences of scores, for a pattern of `TYPICAL_SPOTS`.
        temperature_exponent: power of the number of spots with which the temperature grows, as the errors of the spots
            are not independent.
        uninformative_probability: that the scores carry no information, if the crystal is among the refined.
        evidence_weights: (7,) weights of `compute_evidence` in the ln odds that the crystal is among the refined.
        min_total_probability: the verdict is "no_match" if the probability that it is among them is smaller.
        unrefined_share: share of the patterns whose crystal was not refined that have their crystal in the index.
        preceding_probabilities: for each of `COVERAGES`, the largest total probability of the candidates before the
            true one in this share of the patterns whose crystal is in the index.
    """

    temperature: float
    temperature_exponent: float
    uninformative_probability: float
    evidence_weights: tuple[float, ...]
    min_total_probability: float
    unrefined_share: float
    preceding_probabilities: tuple[float, ...]

    def temper(self, scores: FloatArray, spots: int) -> FloatArray:
        """Return scores (C,) relative to the highest, divided by the temperature for this number of spots."""
        temperature = self.temperature * (spots / TYPICAL_SPOTS) ** self.temperature_exponent
        return np.asarray((scores - scores.max()) / temperature)

    def compute_shares(self, tempered: FloatArray) -> FloatArray:
        """Return the probability (C,) of each candidate, if one of them is the crystal."""
        share = np.exp(tempered) / np.exp(tempered).sum()
        uninformative = self.uninformative_probability
        return np.asarray((1 - uninformative) * share + uninformative / len(tempered))


# Printed by --fit: of 5,000 queries with seed 1; of 1,000 with seed 2 and --effort full.
CALIBRATIONS: dict[VerificationEffort, ConfidenceCalibration] = {
    "verify": ConfidenceCalibration(
        temperature=1.033,
        temperature_exponent=0.3133,
        uninformative_probability=0.0012,
        evidence_weights=(5.926, -4.495, -6.491, -19.5, -0.03626, -5.177, -0.7408),
        min_total_probability=0.229,
        unrefined_share=0.114,
        preceding_probabilities=(0.0, 0.0, 0.0, 0.0, 0.7825, 0.9725, 0.9906, 0.9935),
    ),
    "full": ConfidenceCalibration(
        temperature=1.125,
        temperature_exponent=-0.02361,
        uninformative_probability=0.004,
        evidence_weights=(4.701, -6.12, -7.663, -16.0, -0.0847, -4.089, -0.1883),
        min_total_probability=0.502,
        unrefined_share=0.005,
        preceding_probabilities=(0.0, 0.0, 0.0, 0.0, 0.5698, 0.8073, 0.9114, 0.9895),
    ),
}


@dataclass(frozen=True)
class Confidence:
    """The reliability of an answer.

    Attributes:
        probability: (C,) that each candidate is the crystal; NaN where it was not refined. The sum is at most 1; the
            remainder is the probability of no match.
        verdict: "match" where one candidate has at least `MIN_MATCH_PROBABILITY`, "no_match" where probably none is
            the crystal, otherwise "ambiguous".
        equivalence_groups: (C,) number, from 1, of the group of candidates that are not distinguishable from this
            pattern; 0 where not refined.
    """

    probability: FloatArray
    verdict: Verdict
    equivalence_groups: IntArray

    @property
    def total_probability(self) -> float:
        """Probability that the crystal is among the refined candidates."""
        return float(np.nansum(self.probability))

    def compute_set_size(self, coverage: float, total: int, calibration: ConfidenceCalibration) -> int:
        """Return the number of candidates, in the order of the ranking, in the confidence set.

        The set is conformal (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005): of patterns
        whose crystal is in the index, a share `coverage` has it in the set. The set ends where the candidates before
        have together the probability that those before the true one had in this share of the calibration's patterns.
        If the refined candidates do not suffice, others follow, each less likely than the one before.

        Args:
            coverage: required share, 0.5 to 0.99.
            total: number of crystals that could have been candidates.
            calibration: the fitted constants.
        """
        if not total:
            return 0
        limit = float(np.interp(coverage, COVERAGES, calibration.preceding_probabilities))
        among = self._compute_probability_among_refined(calibration)
        preceding = among * self._compute_preceding_shares()
        if limit < among:
            return max(int(np.searchsorted(preceding, limit, side="right")), 1)
        left = (1 - limit) / max(1 - among, 1e-9)
        return max(min(floor(max(len(preceding), 1) / max(left, 1e-9)) + 1, total), 1)

    def compute_preceding_probability(self, place: int, calibration: ConfidenceCalibration) -> float:
        """Return the total probability of the candidates ahead of a rank (from 0), as used by `compute_set_size`."""
        preceding, among = (
            self._compute_preceding_shares(),
            self._compute_probability_among_refined(calibration),
        )
        if place < len(preceding):
            return float(among * preceding[place])
        # Beyond the refined ones, the probability that the crystal is still to come falls as one over the place.
        return 1 - (1 - among) * max(len(preceding), 1) / max(place, 1)

    def _compute_probability_among_refined(self, calibration: ConfidenceCalibration) -> float:
        """Return the probability that the crystal is among the refined candidates, if it is in the index."""
        total = self.total_probability
        return total / max(total + calibration.unrefined_share * (1 - total), 1e-9)

    def _compute_preceding_shares(self) -> FloatArray:
        """Return the share (R,) of the total probability before each refined candidate, the most probable first."""
        stated = np.sort(self.probability[~np.isnan(self.probability)])[::-1]
        shares = stated / max(float(stated.sum()), 1e-300)
        return np.concatenate([[0.0], np.cumsum(shares)[:-1]])[: len(shares)]


def compute_evidence(best: "Match", spots: int, similar_count: int) -> FloatArray:
    """Return the (7,) quantities that indicate whether the crystal is among the refined candidates.

    Args:
        best: match of the best of them.
        spots: number of spots of the pattern.
        similar_count: number of candidates that are similar enough to be computed; the more, the easier the crystal
            is missed.
    """
    r_factor = 0.0 if best.r_factor is None else best.r_factor
    pattern = (best.extra, best.missing, r_factor, log(spots / TYPICAL_SPOTS), 1 - best.explained)
    return np.array([1.0, *pattern, log(1 + similar_count)])


def estimate_confidence(
    matches: Sequence["Match | None"],
    scores: FloatArray,
    spots: int,
    similar_count: int,
    calibration: ConfidenceCalibration,
) -> Confidence:
    """Estimate the probabilities and the verdict.

    Args:
        matches: (C,) of the candidates; None where they were not refined.
        scores: (C,) ln likelihood and weighted similarity, by which refined candidates are ranked.
        spots: number of spots of the pattern.
        similar_count: number of candidates that are similar enough to be computed.
        calibration: the fitted constants.
    """
    probability = np.full(len(matches), np.nan)
    refined = np.array([row for row, match in enumerate(matches) if match is not None], dtype=np.int64)
    groups = np.zeros(len(matches), dtype=np.int64)
    if not len(refined):
        return Confidence(probability, "no_match", groups)
    tempered = calibration.temper(scores[refined], spots)
    best = matches[refined[tempered.argmax()]]
    assert best is not None
    log_odds = float(compute_evidence(best, spots, similar_count) @ np.array(calibration.evidence_weights))
    total = 1 / (1 + exp(-log_odds))
    probability[refined] = total * calibration.compute_shares(tempered)
    groups[refined] = _group_equivalent(tempered)
    if total < calibration.min_total_probability:
        return Confidence(probability, "no_match", groups)
    is_match = np.nanmax(probability) >= MIN_MATCH_PROBABILITY
    return Confidence(probability, "match" if is_match else "ambiguous", groups)


def lower_verdict(verdict: Verdict | None, probability: float) -> Verdict | None:
    """Return the verdict after the highest probability was reduced to this value."""
    return "ambiguous" if verdict == "match" and probability < MIN_MATCH_PROBABILITY else verdict


def _group_equivalent(tempered: FloatArray) -> IntArray:
    """Return the number (C,) of each candidate's equivalence group, from 1 in the order of their probabilities."""
    groups = np.zeros(len(tempered), dtype=np.int64)
    number, first = 0, np.inf
    for row in np.argsort(-tempered, kind="stable"):
        if number == 0 or first - tempered[row] > log(MAX_EQUIVALENT_RATIO):
            number, first = number + 1, tempered[row]
        groups[row] = number
    return groups
