"""Verification of the candidates of a search, and the conclusions drawn from all of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from index.search.opened_index import OpenedIndex
from index.search.query import SearchQuery
from index.search.results import Candidate, SearchResult
from model.crystal.crystal import Crystal
from model.indexing.pattern_lattice import PatternLattice
from model.matching.confidence import CALIBRATIONS, Confidence, Verdict
from model.matching.next_measurement import NextMeasurement, suggest_next_measurement
from model.matching.place_candidates import ScalePrior
from model.matching.verify import Verification, verify
from model.pattern.observation import Q_MAX_INV_ANGSTROM
from model.stopwatch import Stopwatch

# How many candidates of the first equivalence group the next measurement has to distinguish, at most.
MAX_DISTINGUISHED = 6
# So many spots show their lattice if they have one.
_MANY_SPOTS = 20


def verify_candidates(
    index: OpenedIndex,
    candidates: Sequence[Candidate],
    query: SearchQuery,
    lattice: PatternLattice | None,
    watch: Stopwatch,
    scale: ScalePrior | None = None,
) -> SearchResult:
    """Compare candidates with the pattern and rank them by the result.

    Args:
        index: where they were found.
        candidates: C of them.
        query: its effort is "verify" or "full".
        lattice: the pattern's.
        watch: gets the lap `verify`.
        scale: prior of the pattern's scale, where it is not the one that the pattern states.
    """
    assert query.effort != "search"
    crystals = [candidate.entry.crystal for candidate in candidates]
    similarity = [candidate.similarity + candidate.bonus for candidate in candidates]
    verification = verify(
        crystals,
        similarity,
        query.spots,
        query.voltage_kv,
        query.effort,
        scale,
        index.list_cell_sigma(candidates),
        query.top_k,
    )
    confidence = verification.confidence
    set_size, verdict, measurement = None, _judge_geometry(query, lattice), None
    if confidence is not None:
        admitted = index.count_admitted(query.admission)
        set_size = confidence.compute_set_size(query.coverage, admitted, CALIBRATIONS[query.effort])
        verdict = confidence.verdict
        if verdict != "no_match":
            measurement = _find_next_measurement(crystals, verification, confidence, query)
    ranked = [
        _apply_verification(candidates[row], row, place, verification, set_size)
        for place, row in enumerate(verification.ranking.tolist()[: query.top_k])
    ]
    watch.lap("verify")
    return SearchResult(
        candidates=tuple(ranked),
        timing_ms=watch.milliseconds,
        verdict=verdict,
        lattice=lattice,
        confidence_set_size=set_size if candidates else None,
        next_measurement=measurement,
    )


def _judge_geometry(query: SearchQuery, lattice: PatternLattice | None) -> Verdict | None:
    """Return the verdict without intensities: many spots on no lattice are those of no crystal."""
    return "no_match" if lattice is None and len(query.spots) >= _MANY_SPOTS else None


def _find_next_measurement(
    crystals: Sequence[Crystal], verification: Verification, confidence: Confidence, query: SearchQuery
) -> NextMeasurement | None:
    """Return what would distinguish the candidates of the first equivalence group, where it has several."""
    group = [
        (crystals[row], match)
        for row in verification.ranking.tolist()
        if (match := verification.matches[row]) is not None and confidence.equivalence_groups[row] == 1
    ][:MAX_DISTINGUISHED]
    if len(group) < 2:
        return None
    q_max = min(float(np.hypot(*query.spots.q_inv_angstrom.T).max()), Q_MAX_INV_ANGSTROM)
    crystals, matches = zip(*group, strict=True)
    return suggest_next_measurement(crystals, matches, query.voltage_kv, q_max)


def _apply_verification(
    candidate: Candidate, row: int, place: int, verification: Verification, set_size: int | None
) -> Candidate:
    """Return a candidate with its match and probability: `row` in the verification, `place` in the ranking, from 0."""
    confidence = verification.confidence
    probability, group = None, None
    if confidence is not None and np.isfinite(verification.scores[row]):
        probability, group = float(confidence.probability[row]), int(confidence.equivalence_groups[row])
    return replace(
        candidate,
        match=verification.matches[row],
        probability=probability,
        equivalence_group=group,
        in_confidence_set=None if set_size is None else place < set_size,
    )
