"""What a search finds."""

from dataclasses import dataclass, replace
from math import inf
from typing import Literal, Self

from index.storage.catalogue import Entry
from model.indexing.pattern_lattice import PlaneLattice
from model.matching.confidence import Verdict, no_surer
from model.matching.match import Match
from model.matching.next_measurement import Measurement
from model.matching.overlapping_lattices import Overlap, Twist


@dataclass(frozen=True)
class Hit:
    """A crystal that may have made the pattern.

    Attributes:
        entry: the crystal; of several that are the same, the one nearest to the pattern.
        similarity: cosine of the towers' vectors, -1 to 1.
        also: ids of the others that are the same crystal.
        match: how its computed pattern lies on the measured one; None where that was not computed.
        probability: of being the crystal; None where that was not computed.
        group: number of the group of hits that the pattern hardly tells apart, from 1; None likewise.
        in_set: whether it is in the set that holds the crystal with the coverage asked for; None likewise.
        bonus: what a measured composition adds to the similarity where hits are ranked, 0 at most.
        layer: 1 or 2, of a pattern of two lattices; None of a single one.
    """

    entry: Entry
    similarity: float
    also: tuple[str, ...] = ()
    match: Match | None = None
    probability: float | None = None
    group: int | None = None
    in_set: bool | None = None
    bonus: float = 0.0
    layer: Literal[1, 2] | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: best first.
        timing_ms: time of each stage (`embed`, `search`, `lattice`, `collect`, `verify`), milliseconds.
        verdict: what the verification makes of it; None where there was none.
        lattice: the pattern's own; None where it shows none, or was not asked for it.
        set_size: number of candidates that hold the crystal with the coverage asked for, more than `hits` perhaps;
            None without probabilities.
        measurement: what would part the hits of the first group, where it has several.
        warnings: sentences for the user.
        overlap: the pattern taken apart, where it is of two lattices; hits are of both then.
        twist: of the first hits of both; None of a single lattice, and where one of them was not matched.
    """

    hits: tuple[Hit, ...]
    timing_ms: dict[str, float]
    verdict: Verdict | None = None
    lattice: PlaneLattice | None = None
    set_size: int | None = None
    measurement: Measurement | None = None
    warnings: tuple[str, ...] = ()
    overlap: Overlap | None = None
    twist: Twist | None = None

    @property
    def best(self) -> Match | None:
        """Of the first hit that was held against the pattern."""
        return next((hit.match for hit in self.hits if hit.match), None)

    @property
    def score(self) -> float:
        """The highest ln likelihood of any hit that was refined; -inf without."""
        return max((hit.match.score for hit in self.hits if hit.match and hit.match.refined), default=-inf)

    def trusted(self, share: float, warning: str) -> Self:
        """The same, but only so likely to be right at all, and why; what coverage a set has then nobody knows."""
        hits = tuple(
            replace(
                hit, probability=None if hit.probability is None else share * hit.probability, in_set=None
            )
            for hit in self.hits
        )
        verdict = no_surer(self.verdict, max((hit.probability or 0.0 for hit in hits), default=0.0))
        return replace(self, hits=hits, verdict=verdict, set_size=None, warnings=(*self.warnings, warning))
