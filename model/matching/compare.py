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
from model.indexing.pattern_lattice import PlaneLattice, index_pattern
from model.matching.confidence import CALIBRATIONS, Verdict, confidence, no_surer
from model.matching.match import Match
from model.matching.scale_check import DOUBT, explains_better, told_of, trust
from model.matching.verify import Scale, verify
from model.pattern.observation import Observation
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST, MOST = 2, 20
DECIDING = 12
# Beams of two crystals nearer to each other than this are seen as one.
SAME_BEAM_INV_ANGSTROM = 0.025


@dataclass(frozen=True)
class Deciding:
    """A spot, or a beam that should have been seen, which speaks for one of two crystals.

    Attributes:
        first: its line in the first crystal's `Match.beams`, None where that has none.
        other: its line in the other's.
        log_ratio: ln of its likelihood by the first over that by the other.
    """

    first: int | None
    other: int | None
    log_ratio: float


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
        deciding: of each crystal against the first, what differs most, largest first; empty for the first itself.
        lattice: the pattern's own.
        warnings: sentences for the user.
    """

    ranking: IntArray
    matches: tuple[Match | None, ...]
    log_likelihood: FloatArray
    probability: FloatArray | None
    verdict: Verdict | None
    deciding: tuple[tuple[Deciding, ...], ...]
    lattice: PlaneLattice | None
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
    if not FEWEST <= len(crystals) <= MOST:
        raise OptionError(f"{len(crystals)} structures; give {FEWEST} to {MOST} to be compared")
    lattice = index_pattern(Observation.from_spots(spots, voltage_kv))
    if not spots.scale_is_known:
        return _compared(crystals, spots, voltage_kv, lattice, _at_implied_scales(crystals, lattice, np.inf))
    found = _compared(crystals, spots, voltage_kv, lattice, None)
    others = None if lattice is None else _at_implied_scales(crystals, lattice, DOUBT)
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
    probability = None if other.probability is None else trust(best.scale) * other.probability
    verdict = no_surer(other.verdict, 0.0 if probability is None else float(probability.max()))
    return replace(other, probability=probability, verdict=verdict, warnings=(told_of(best.scale),))


def _compared(
    crystals: Sequence[Crystal],
    spots: Spots,
    voltage_kv: float,
    lattice: PlaneLattice | None,
    attempts: tuple[list[int], Scale] | None,
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
        sure = confidence(matches, score, len(spots), len(matches), CALIBRATIONS["full"])
    return Comparison(
        ranking=ranking,
        matches=matches,
        log_likelihood=np.full(len(score), -np.inf) if first is None else score - first.score,
        probability=None if sure is None else np.nan_to_num(sure.probability),
        verdict=None if sure is None else sure.verdict,
        deciding=tuple(
            () if first is None or match is None or match is first else deciding(first, match)
            for match in matches
        ),
        lattice=lattice,
    )


def deciding(first: Match, other: Match) -> tuple[Deciding, ...]:
    """What of a pattern tells two crystals apart, the most telling first."""
    lines = [
        Deciding(row, row, float(first.beams.log_likelihood[row] - other.beams.log_likelihood[row]))
        for row in range(first.beams.spots)
    ]
    partner = _partners(first, other)
    for row, place in partner.items():
        against = 0.0 if place is None else float(other.beams.log_likelihood[place])
        lines.append(Deciding(row, place, float(first.beams.log_likelihood[row]) - against))
    unmet = set(range(other.beams.spots, len(other.beams))) - set(partner.values())
    lines += [Deciding(None, row, -float(other.beams.log_likelihood[row])) for row in sorted(unmet)]
    return tuple(sorted(lines, key=lambda line: -abs(line.log_ratio))[:DECIDING])


def _partners(first: Match, other: Match) -> dict[int, int | None]:
    """For each missing beam of the first, the one of the other at the same place."""
    found: dict[int, int | None] = {}
    places = other.beams.computed[other.beams.spots :]
    for row in range(first.beams.spots, len(first.beams)):
        distance = np.linalg.norm(places - first.beams.computed[row], axis=1)
        nearest = int(distance.argmin()) if len(distance) else -1
        near = nearest >= 0 and distance[nearest] < SAME_BEAM_INV_ANGSTROM
        found[row] = other.beams.spots + nearest if near else None
    return found


def _at_implied_scales(
    crystals: Sequence[Crystal], lattice: PlaneLattice | None, doubt: float
) -> tuple[list[int], Scale] | None:
    """The crystals that can have a lattice at a scale within a doubt (of the logarithm), and those; None if none."""
    if lattice is None:
        raise OptionError(
            "the spots show no lattice that could tell the scale; give pixel_size (1/angstrom per pixel)"
        )
    table = LatticeTable.of(np.stack([crystal.lattice for crystal in crystals]))
    fitting = table.fitting(lattice.basis, doubt)
    return (fitting.crystal.tolist(), Scale(doubt / 2, fitting.scale)) if len(fitting.crystal) else None
