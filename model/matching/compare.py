"""Compare a few crystals with one pattern: which of them produced it, and which spots decide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.indexing.lattice_table import LatticeTable
from model.indexing.orientations import SCALE_TOLERANCE
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.matching.confidence import CALIBRATIONS, Verdict, estimate_confidence, lower_verdict
from model.matching.match import Match
from model.matching.place_candidates import ScalePrior
from model.matching.scale_check import (
    MAX_LOG_SCALE_DEVIATION,
    compute_probability_factor,
    describe_scale_deviation,
    explains_better,
)
from model.matching.verify import verify
from model.pattern.observation import Observation
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_STRUCTURES, MAX_STRUCTURES = 2, 20
MAX_DECIDING = 12
SAME_REFLECTION_INV_ANGSTROM = 0.025
"""Reflections of two crystals nearer to each other than this appear as one spot."""


@dataclass(frozen=True)
class DecidingReflection:
    """A spot or a missing reflection that is evidence for one of two crystals.

    Attributes:
        first: its line in the first crystal's `Match.reflections`; None where it has none.
        other: its line in the other's.
        log_likelihood_ratio: ln of its likelihood by the first over that by the other.
    """

    first: int | None
    other: int | None
    log_likelihood_ratio: float


@dataclass(frozen=True)
class Comparison:
    """The comparison of C crystals with one pattern.

    Attributes:
        ranking: (C,) indices of the crystals, the likeliest first; those whose lattice does not fit come last.
        matches: (C,) how each matches; None where the lattice does not fit.
        log_likelihood: (C,) relative to that of the first; -inf without a match.
        probability: (C,) that each is the crystal, if all are equally likely before; 0 without a match. None without
            intensities. The remainder is the probability of no match.
        verdict: as that of a search; None without intensities.
        deciding_reflections: (C,) what differs most from the first, largest first; empty for the first itself.
        lattice: the pattern's lattice.
        warnings: sentences for the user.
    """

    ranking: IntArray
    matches: tuple[Match | None, ...]
    log_likelihood: FloatArray
    probability: FloatArray | None
    verdict: Verdict | None
    deciding_reflections: tuple[tuple[DecidingReflection, ...], ...]
    lattice: PatternLattice | None
    warnings: tuple[str, ...] = ()

    @property
    def best(self) -> Match | None:
        """The match of the most likely crystal."""
        return self.matches[int(self.ranking[0])]

    @property
    def score(self) -> float:
        """Log-likelihood of the most likely crystal; -inf without a match."""
        return -np.inf if self.best is None else self.best.score


@dataclass(frozen=True)
class _Attempts:
    """Which crystals are compared at which scales; a crystal may come several times.

    Attributes:
        crystal: (K,) their indices.
        scale: prior of their scales; None for that of the pattern.
    """

    crystal: list[int]
    scale: ScalePrior | None


def compare(crystals: Sequence[Crystal], spots: Spots, voltage_kv: float) -> Comparison:
    """Compare a few crystals with a pattern at the highest effort.

    If other scales than the stated one explain the pattern far better, the comparison at those is returned.

    Args:
        crystals: two to twenty.
        spots: the pattern.
        voltage_kv: accelerating voltage.

    Raises:
        OptionError: fewer or more crystals, or a pattern of unknown scale without a lattice.
        NoSpotsError: no spots within the range of the models.
    """
    if not MIN_STRUCTURES <= len(crystals) <= MAX_STRUCTURES:
        raise OptionError(
            f"Got {len(crystals)} structures; give {MIN_STRUCTURES} to {MAX_STRUCTURES} to compare."
        )
    lattice = index_pattern(Observation.from_spots(spots, voltage_kv))
    every = _Attempts(list(range(len(crystals))), None)
    if not spots.scale_is_known:
        attempts = _find_implied_scales(crystals, lattice, np.inf) or every
        return _compare_at(attempts, crystals, spots, voltage_kv, lattice)
    stated = _compare_at(every, crystals, spots, voltage_kv, lattice)
    others = None if lattice is None else _find_implied_scales(crystals, lattice, MAX_LOG_SCALE_DEVIATION)
    if others is None:
        return stated
    return _choose_scale(stated, _compare_at(others, crystals, spots, voltage_kv, lattice))


def _choose_scale(stated: Comparison, other: Comparison) -> Comparison:
    """Return the comparison at the stated scale, or that at other ones if it explains the pattern far better."""
    best = other.best
    if best is None or other.verdict == "no_match" or not explains_better(best, stated.score):
        return stated
    if abs(log(best.scale)) < SCALE_TOLERANCE:
        return stated
    probability, highest = other.probability, 0.0
    if probability is not None:
        probability = compute_probability_factor(best.scale) * probability
        highest = float(probability.max())
    verdict = lower_verdict(other.verdict, highest)
    warnings = (describe_scale_deviation(best.scale),)
    return replace(other, probability=probability, verdict=verdict, warnings=warnings)


def _find_implied_scales(
    crystals: Sequence[Crystal], lattice: PatternLattice | None, max_log_deviation: float
) -> _Attempts | None:
    """Find the crystals that can have the pattern's lattice, and their scales; None if there are none."""
    if lattice is None:
        raise OptionError(
            "The spots show no lattice from which to derive the scale; give pixel_size (1/angstrom per pixel)."
        )
    table = LatticeTable.from_cells(np.stack([crystal.lattice for crystal in crystals]))
    found = table.find_matches(lattice.basis, max_log_deviation)
    if not len(found.crystal):
        return None
    return _Attempts(found.crystal.tolist(), ScalePrior(max_log_deviation / 2, found.scale))


def _compare_at(
    attempts: _Attempts,
    crystals: Sequence[Crystal],
    spots: Spots,
    voltage_kv: float,
    lattice: PatternLattice | None,
) -> Comparison:
    """Compare crystals at the scales of the attempts."""
    matches = _match_attempts(attempts, crystals, spots, voltage_kv)
    score = np.array([-np.inf if match is None else match.score for match in matches])
    ranking = np.argsort(-score, kind="stable")
    first = matches[ranking[0]]
    confidence = None
    if spots.intensity is not None:
        confidence = estimate_confidence(matches, score, len(spots), len(matches), CALIBRATIONS["full"])
    return Comparison(
        ranking=ranking,
        matches=matches,
        log_likelihood=np.full(len(score), -np.inf) if first is None else score - first.score,
        probability=None if confidence is None else np.nan_to_num(confidence.probability),
        verdict=None if confidence is None else confidence.verdict,
        deciding_reflections=tuple(
            ()
            if first is None or match is None or match is first
            else find_deciding_reflections(first, match)
            for match in matches
        ),
        lattice=lattice,
    )


def _match_attempts(
    attempts: _Attempts, crystals: Sequence[Crystal], spots: Spots, voltage_kv: float
) -> tuple[Match | None, ...]:
    """Return the match of each crystal at the likeliest of its scales."""
    tried, similarity = [crystals[row] for row in attempts.crystal], [0.0] * len(attempts.crystal)
    verification = verify(tried, similarity, spots, voltage_kv, "full", attempts.scale)
    best: dict[int, int] = {}
    for attempt in verification.ranking.tolist():
        best.setdefault(attempts.crystal[attempt], attempt)
    return tuple(verification.matches[best[row]] if row in best else None for row in range(len(crystals)))


def find_deciding_reflections(first: Match, other: Match) -> tuple[DecidingReflection, ...]:
    """Find what distinguishes two matches of one pattern, at most `MAX_DECIDING` reflections, the largest first."""
    by_first, by_other = first.reflections.log_likelihood, other.reflections.log_likelihood
    found = [
        DecidingReflection(row, row, float(by_first[row] - by_other[row]))
        for row in range(first.reflections.spots)
    ]
    partners = _pair_missing(first, other)
    for row, partner in partners.items():
        against = 0.0 if partner is None else float(by_other[partner])
        found.append(DecidingReflection(row, partner, float(by_first[row]) - against))
    unpaired = set(range(other.reflections.spots, len(other.reflections))) - set(partners.values())
    found += [DecidingReflection(None, row, -float(by_other[row])) for row in sorted(unpaired)]
    return tuple(sorted(found, key=lambda one: -abs(one.log_likelihood_ratio))[:MAX_DECIDING])


def _pair_missing(first: Match, other: Match) -> dict[int, int | None]:
    """Return the missing reflection of the other match at the same position, for each of the first; None if none."""
    rows = range(first.reflections.spots, len(first.reflections))
    positions = other.reflections.q_computed[other.reflections.spots :]
    if not len(rows) or not len(positions):
        return dict.fromkeys(rows)
    sought = first.reflections.q_computed[first.reflections.spots :]
    distance, nearest = cKDTree(positions).query(sought)
    is_near = distance < SAME_REFLECTION_INV_ANGSTROM
    partners = np.where(is_near, other.reflections.spots + nearest, -1).tolist()
    return {row: partner if partner >= 0 else None for row, partner in zip(rows, partners, strict=True)}
