"""What a search finds."""

from dataclasses import dataclass, replace
from math import inf
from typing import Literal, Self

from index.storage.catalog import Entry
from model.indexing.pattern_lattice import PatternLattice
from model.matching.confidence import Verdict, lower_verdict
from model.matching.match import Match
from model.matching.next_measurement import NextMeasurement
from model.matching.overlapping_lattices import OverlappingLattices, Twist


@dataclass(frozen=True)
class Candidate:
    """A crystal that may have made the pattern.

    Attributes:
        entry: the crystal; of several that are the same, the one nearest to the pattern.
        similarity: cosine of the towers' vectors, -1 to 1.
        same_as: ids of the others that are the same crystal.
        match: how its computed pattern lies on the measured one; None where that was not computed.
        probability: of being the crystal; None where that was not computed.
        equivalence_group: number of the group of candidates that the pattern hardly tells apart, from 1; None likewise.
        in_confidence_set: whether it is in the set that holds the crystal with the coverage asked for; None likewise.
        bonus: what a measured composition adds to the similarity where candidates are ranked, 0 at most.
        lattice_number: 1 or 2, of a pattern of two lattices; None of a single one.
    """

    entry: Entry
    similarity: float
    same_as: tuple[str, ...] = ()
    match: Match | None = None
    probability: float | None = None
    equivalence_group: int | None = None
    in_confidence_set: bool | None = None
    bonus: float = 0.0
    lattice_number: Literal[1, 2] | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        candidates: best first.
        timing_ms: time of each stage (`embed`, `search`, `lattice`, `collect`, `verify`), milliseconds.
        verdict: what the verification makes of it; None where there was none.
        lattice: the pattern's own; None where it shows none, or was not asked for it.
        confidence_set_size: number of candidates in the confidence set; None without
            probabilities.
        next_measurement: what would part the candidates of the first group, where it has several.
        warnings: sentences for the user.
        overlap: the pattern taken apart, where it is of two lattices; candidates are of both then.
        twist: of the first candidates of both; None of a single lattice, and where one of them was not matched.
    """

    candidates: tuple[Candidate, ...]
    timing_ms: dict[str, float]
    verdict: Verdict | None = None
    lattice: PatternLattice | None = None
    confidence_set_size: int | None = None
    next_measurement: NextMeasurement | None = None
    warnings: tuple[str, ...] = ()
    overlap: OverlappingLattices | None = None
    twist: Twist | None = None

    @property
    def best(self) -> Match | None:
        """Of the first candidate that was held against the pattern."""
        return next((candidate.match for candidate in self.candidates if candidate.match), None)

    @property
    def score(self) -> float:
        """The highest ln likelihood of any candidate that was refined; -inf without."""
        return max(
            (
                candidate.match.score
                for candidate in self.candidates
                if candidate.match and candidate.match.refined
            ),
            default=-inf,
        )

    def trusted(self, share: float, warning: str) -> Self:
        """The same, but only so likely to be right at all, and why; what coverage a set has then nobody knows."""
        candidates = tuple(
            replace(
                candidate,
                probability=None if candidate.probability is None else share * candidate.probability,
                in_confidence_set=None,
            )
            for candidate in self.candidates
        )
        verdict = lower_verdict(
            self.verdict, max((candidate.probability or 0.0 for candidate in candidates), default=0.0)
        )
        return replace(
            self,
            candidates=candidates,
            verdict=verdict,
            confidence_set_size=None,
            warnings=(*self.warnings, warning),
        )
