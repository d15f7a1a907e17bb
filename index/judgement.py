"""Hits held against their pattern, and what follows from all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.elements import Bitmap
from index.hits import Hit, SearchResult
from model.matching import depth
from model.matching.confidence import CALIBRATIONS
from model.matching.indexing import PlaneLattice
from model.matching.measurement import distinguishing
from model.matching.observation import Q_MAX_INV_ANGSTROM
from model.matching.verification import Scale, Verification, verify
from model.pattern.spots import Spots

Effort = Literal["search", "verify", "full"]

# In which share of cases the set of candidates holds the crystal, unless asked otherwise.
COVERAGE = 0.95
# Of candidates that a pattern hardly tells apart, so many are parted.
MOST_PARTED = 6
# By how much the ln likelihood has to be larger at another scale where intensities do not decide.
CLEARLY_BETTER = 10.0


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        spots: the pattern.
        voltage_kv: accelerating voltage.
        allowed: a bit for each crystal that may be found; None allows all.
        top_k: hits wanted.
        effort: as `Retriever.search` takes it.
        coverage: of the set of candidates.
        bonus: (N,) what is added to each crystal's similarity; None for nothing.
    """

    spots: Spots
    voltage_kv: float
    allowed: Bitmap | None
    top_k: int
    effort: Effort
    coverage: float = COVERAGE
    bonus: NDArray[np.float64] | None = None

    @property
    def pool(self) -> int:
        """How many candidates the towers have to give."""
        if self.effort == "search":
            return self.top_k
        return max(self.top_k, depth.depth_of(self.effort, self.spots).layers)


class Timing:
    """A stop watch with a name for each lap."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._begun = perf_counter()

    def stop(self, name: str) -> None:
        """End a lap and begin the next."""
        now = perf_counter()
        self.milliseconds[name] = round(1000.0 * (now - self._begun), 3)
        self._begun = now


def verified(
    hits: Sequence[Hit],
    query: Query,
    scale: Scale,
    lattice: PlaneLattice | None,
    admitted: int,
    timing: Timing,
) -> SearchResult:
    """The hits in the order of the verification, each with what it found, and what follows from all of them."""
    assert query.effort != "search"
    crystals = [hit.entry.crystal for hit in hits]
    near = [hit.similarity + hit.bonus for hit in hits]
    found = verify(crystals, near, query.spots, query.voltage_kv, query.effort, scale)
    sure = found.confidence
    size = None if sure is None else sure.set_size(query.coverage, admitted, CALIBRATIONS[query.effort])
    ordered = tuple(
        _judged(hits[row], row, place, found, size) for place, row in enumerate(found.ranking.tolist())
    )
    alike = [hit for hit in ordered if hit.group == 1 and hit.match][:MOST_PARTED]
    measurement = None
    if len(alike) > 1:
        reach = min(float(np.hypot(*query.spots.q_inv_angstrom.T).max()), Q_MAX_INV_ANGSTROM)
        measurement = distinguishing(
            [hit.entry.crystal for hit in alike],
            [hit.match for hit in alike if hit.match],
            query.voltage_kv,
            reach,
        )
    timing.stop("verify")
    return SearchResult(
        hits=ordered[: query.top_k],
        timing_ms=timing.milliseconds,
        verdict=None if sure is None else sure.verdict,
        lattice=lattice,
        set_size=size,
        measurement=measurement,
    )


def _judged(hit: Hit, row: int, place: int, found: Verification, size: int | None) -> Hit:
    """A hit with what its verification found."""
    match, sure = found.matches[row], found.confidence
    told = sure is not None and match is not None
    return replace(
        hit,
        match=match,
        probability=float(sure.probability[row]) if sure is not None and told else None,
        group=int(sure.groups[row]) if sure is not None and told else None,
        in_set=None if size is None else place < size,
    )


def explains_better(doubted: SearchResult, found: SearchResult) -> bool:
    """Whether a pattern that no crystal, or no sure one, explains at its scale is explained at another."""
    if doubted.verdict is not None:
        return doubted.verdict != "no_match"
    # Without intensities there is no verdict, only scores.
    best, before = (
        max((hit.match.score for hit in each.hits if hit.match), default=-np.inf) for each in (doubted, found)
    )
    return bool(best > before + CLEARLY_BETTER)
