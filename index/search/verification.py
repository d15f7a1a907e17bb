"""Candidates held against their pattern, and what follows from all of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index.search.query import SearchQuery
from index.search.results import Candidate, SearchResult
from index.search.timing import Timing
from model.crystal.crystal import Crystal
from model.indexing.pattern_lattice import PatternLattice
from model.matching.confidence import CALIBRATIONS, Confidence, Verdict
from model.matching.next_measurement import NextMeasurement, suggest_next_measurement
from model.matching.verify import ScalePrior, Verification, verify
from model.pattern.observation import Q_MAX_INV_ANGSTROM

# Of candidates that a pattern hardly tells apart, so many are parted.
MOST_PARTED = 6
# So many spots show their lattice if they have one.
MANY_SPOTS = 20


def verified(
    candidates: Sequence[Candidate],
    query: SearchQuery,
    scale: ScalePrior | None,
    cell_sigma: NDArray[np.float64],
    lattice: PatternLattice | None,
    admitted: int,
    timing: Timing,
) -> SearchResult:
    """The candidates in the order of the verification, each with what it found, and what follows from all of them.

    Args:
        candidates: H candidates.
        query: what was asked.
        scale: what is known of the pattern's, where not what it states.
        cell_sigma: (H,) rms error of the logarithm of the lengths of each cell.
        lattice: the pattern's own.
        admitted: how many crystals could have been candidates.
        timing: told when it is done.
    """
    assert query.effort != "search"
    crystals = [candidate.entry.crystal for candidate in candidates]
    near = [candidate.similarity + candidate.bonus for candidate in candidates]
    found = verify(
        crystals, near, query.spots, query.voltage_kv, query.effort, scale, cell_sigma, query.top_k
    )
    sure = found.confidence
    size = None if sure is None else sure.set_size(query.coverage, admitted, CALIBRATIONS[query.effort])
    ranking = found.ranking.tolist()
    ordered = [
        _judged(candidates[row], row, place, found, size) for place, row in enumerate(ranking[: query.top_k])
    ]
    measurement = None
    if sure is not None and sure.verdict != "no_match":
        measurement = _parting(crystals, found, sure, query)
    timing.stop("verify")
    return SearchResult(
        candidates=tuple(ordered),
        timing_ms=timing.milliseconds,
        verdict=sure.verdict if sure is not None else _by_geometry(query, lattice),
        lattice=lattice,
        confidence_set_size=size if candidates else None,
        next_measurement=measurement,
    )


def _by_geometry(query: SearchQuery, lattice: PatternLattice | None) -> Verdict | None:
    """Without intensities a verdict can only be that many spots on no lattice are those of no crystal."""
    return "no_match" if lattice is None and len(query.spots) >= MANY_SPOTS else None


def _parting(
    crystals: Sequence[Crystal], found: Verification, sure: Confidence, query: SearchQuery
) -> NextMeasurement | None:
    """What would part the first of those candidates that the pattern hardly tells from the likeliest, if there are."""
    alike = [
        (crystals[row], match)
        for row in found.ranking.tolist()
        if (match := found.matches[row]) is not None and sure.equivalence_groups[row] == 1
    ][:MOST_PARTED]
    if len(alike) < 2:
        return None
    reach = min(float(np.hypot(*query.spots.q_inv_angstrom.T).max()), Q_MAX_INV_ANGSTROM)
    crystals, matches = zip(*alike, strict=True)
    return suggest_next_measurement(crystals, matches, query.voltage_kv, reach)


def _judged(candidate: Candidate, row: int, place: int, found: Verification, size: int | None) -> Candidate:
    """A candidate with what its verification found."""
    sure = found.confidence
    told = sure is not None and np.isfinite(found.scores[row])
    return replace(
        candidate,
        match=found.matches[row],
        probability=float(sure.probability[row]) if sure is not None and told else None,
        equivalence_group=int(sure.equivalence_groups[row]) if sure is not None and told else None,
        in_confidence_set=None if size is None else place < size,
    )
