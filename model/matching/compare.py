"""Which of a few crystals made a pattern, and which spots say so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

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
# Beams of two crystals nearer to each other than this are seen as one.
SAME_BEAM_INV_ANGSTROM = 0.025


@dataclass(frozen=True)
class DecidingReflection:
    """A spot, or a beam that should have been seen, which speaks for one of two crystals.

    Attributes:
        first: its line in the first crystal's `Match.reflections`, None where that has none.
        other: its line in the other's.
        log_likelihood_ratio: ln of its likelihood by the first over that by the other.
    """

    first: int | None
    other: int | None
    log_likelihood_ratio: float


@dataclass(frozen=True)
class Comparison:
    """C crystals held against one pattern.

    Attributes:
        ranking: (C,) the likeliest first; those whose lattice does not fit come last.
        matches: of each crystal, None where its lattice does not fit.
        log_likelihood: (C,) less that of the first; -inf without a match.
        probability: (C,) of being the crystal if all were as likely before; 0 without a match, None of all without
            intensities. The rest is "none of these".
        verdict: as that of a search; None without intensities.
        deciding_reflections: of each crystal against the first, what differs most; empty for the first itself.
        lattice: the pattern's own.
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
        """Of the likeliest."""
        return self.matches[int(self.ranking[0])]

    @property
    def score(self) -> float:
        """ln likelihood of the likeliest; -inf without a match."""
        return -np.inf if self.best is None else self.best.score


def compare(crystals: Sequence[Crystal], spots: Spots, voltage_kv: float) -> Comparison:
    """Hold a few crystals against a pattern, as thoroughly as can be.

    Args:
        crystals: two to twenty.
        spots: the pattern.
        voltage_kv: accelerating voltage.

    Raises:
        OptionError: fewer or more crystals.
        NoSpotsError: no spots within the models' range.
    """
    if not MIN_STRUCTURES <= len(crystals) <= MAX_STRUCTURES:
        raise OptionError(
            f"{len(crystals)} structures; give {MIN_STRUCTURES} to {MAX_STRUCTURES} to be compared"
        )
    lattice = index_pattern(Observation.from_spots(spots, voltage_kv))
    if not spots.scale_is_known:
        return _compared(crystals, spots, voltage_kv, lattice, _at_implied_scales(crystals, lattice, np.inf))
    found = _compared(crystals, spots, voltage_kv, lattice, None)
    others = None if lattice is None else _at_implied_scales(crystals, lattice, MAX_LOG_SCALE_DEVIATION)
    if others is None:
        return found
    return _doubted(found, _compared(crystals, spots, voltage_kv, lattice, others))


def _doubted(found: Comparison, other: Comparison) -> Comparison:
    """What was found at the scale that was stated, or at other ones if that explains the pattern far better."""
    best = other.best
    if best is None or other.verdict == "no_match" or not explains_better(best, found.score):
        return found
    if abs(log(best.scale)) < SCALE_TOLERANCE:
        return found
    probability = (
        None if other.probability is None else compute_probability_factor(best.scale) * other.probability
    )
    verdict = lower_verdict(other.verdict, 0.0 if probability is None else float(probability.max()))
    return replace(
        other, probability=probability, verdict=verdict, warnings=(describe_scale_deviation(best.scale),)
    )


def _compared(
    crystals: Sequence[Crystal],
    spots: Spots,
    voltage_kv: float,
    lattice: PatternLattice | None,
    attempts: tuple[list[int], ScalePrior] | None,
) -> Comparison:
    """By which crystals are tried at which scales; all at the pattern's own where that is not said."""
    tried, scale = attempts or (list(range(len(crystals))), None)
    found = verify([crystals[row] for row in tried], [0.0] * len(tried), spots, voltage_kv, "full", scale)
    # Of several scales that a crystal might have, the likeliest counts.
    best: dict[int, int] = {}
    for attempt in found.ranking.tolist():
        best.setdefault(tried[attempt], attempt)
    matches = tuple(found.matches[best[row]] if row in best else None for row in range(len(crystals)))
    score = np.array([-np.inf if match is None else match.score for match in matches])
    ranking = np.argsort(-score, kind="stable")
    first = matches[ranking[0]]
    sure = None
    if spots.intensity is not None:
        sure = estimate_confidence(matches, score, len(spots), len(matches), CALIBRATIONS["full"])
    return Comparison(
        ranking=ranking,
        matches=matches,
        log_likelihood=np.full(len(score), -np.inf) if first is None else score - first.score,
        probability=None if sure is None else np.nan_to_num(sure.probability),
        verdict=None if sure is None else sure.verdict,
        deciding_reflections=tuple(
            ()
            if first is None or match is None or match is first
            else find_deciding_reflections(first, match)
            for match in matches
        ),
        lattice=lattice,
    )


def find_deciding_reflections(first: Match, other: Match) -> tuple[DecidingReflection, ...]:
    """What of a pattern tells two crystals apart, the most telling first."""
    lines = [
        DecidingReflection(
            row, row, float(first.reflections.log_likelihood[row] - other.reflections.log_likelihood[row])
        )
        for row in range(first.reflections.spots)
    ]
    partner = _partners(first, other)
    for row, place in partner.items():
        against = 0.0 if place is None else float(other.reflections.log_likelihood[place])
        lines.append(DecidingReflection(row, place, float(first.reflections.log_likelihood[row]) - against))
    unmet = set(range(other.reflections.spots, len(other.reflections))) - set(partner.values())
    lines += [
        DecidingReflection(None, row, -float(other.reflections.log_likelihood[row])) for row in sorted(unmet)
    ]
    return tuple(sorted(lines, key=lambda line: -abs(line.log_likelihood_ratio))[:MAX_DECIDING])


def _partners(first: Match, other: Match) -> dict[int, int | None]:
    """For each missing beam of the first, the one of the other at the same place."""
    found: dict[int, int | None] = {}
    places = other.reflections.q_computed[other.reflections.spots :]
    for row in range(first.reflections.spots, len(first.reflections)):
        distance = np.linalg.norm(places - first.reflections.q_computed[row], axis=1)
        nearest = int(distance.argmin()) if len(distance) else -1
        near = nearest >= 0 and distance[nearest] < SAME_BEAM_INV_ANGSTROM
        found[row] = other.reflections.spots + nearest if near else None
    return found


def _at_implied_scales(
    crystals: Sequence[Crystal], lattice: PatternLattice | None, doubt: float
) -> tuple[list[int], ScalePrior] | None:
    """The crystals that can have a lattice at a scale within a doubt (of the logarithm), and those; None if none."""
    if lattice is None:
        raise OptionError(
            "the spots show no lattice that could tell the scale; give pixel_size (1/angstrom per pixel)"
        )
    table = LatticeTable.from_cells(np.stack([crystal.lattice for crystal in crystals]))
    fitting = table.find_matches(lattice.basis, doubt)
    return (fitting.crystal.tolist(), ScalePrior(doubt / 2, fitting.scale)) if len(fitting.crystal) else None
