"""Results of a search: the candidates, and the conclusions drawn from all of them."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Self

from index.storage.catalog import Entry
from model.indexing.pattern_lattice import PatternLattice
from model.matching.confidence import Verdict, lower_verdict
from model.matching.match import Match
from model.matching.next_measurement import NextMeasurement
from model.matching.overlapping_lattices import OverlappingLattices, Twist


@dataclass(frozen=True)
class Candidate:
    """A crystal proposed as the answer.

    Attributes:
        entry: the crystal; of several duplicates the one most similar to the pattern.
        similarity: cosine of the two towers' vectors, -1 to 1.
        same_as: ids of its duplicates.
        match: comparison with the pattern; None if it was not computed.
        probability: probability of being the crystal; None if it was not computed.
        equivalence_group: number, from 1, of the group of candidates that this pattern does not distinguish; None
            where there is no probability.
        in_confidence_set: whether the candidate belongs to the confidence set; None if there is none.
        bonus: what a measured composition adds to the similarity in the ranking, 0 at most.
        lattice_number: number, from 1, of the lattice that this candidate explains; None if the pattern has one.
    """

    entry: Entry
    similarity: float
    same_as: tuple[str, ...] = ()
    match: Match | None = None
    probability: float | None = None
    equivalence_group: int | None = None
    in_confidence_set: bool | None = None
    bonus: float = 0.0
    lattice_number: int | None = None


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        candidates: best first.
        timing_ms: milliseconds of each stage (`embed`, `search`, `lattice`, `collect`, `verify`).
        verdict: conclusion of the verification; None if there was none.
        lattice: the pattern's lattice; None if the spots show none, or where the effort does not need it.
        confidence_set_size: number of candidates in the confidence set; None without probabilities.
        next_measurement: what would distinguish the candidates of the first equivalence group, where it has several.
        warnings: sentences for the user.
        overlapping_lattices: the two lattices of the pattern and their spots; None if it has one.
        twist: twist angle between the leading candidates of the two lattices; None if one of them has no match.
    """

    candidates: tuple[Candidate, ...]
    timing_ms: dict[str, float]
    verdict: Verdict | None = None
    lattice: PatternLattice | None = None
    confidence_set_size: int | None = None
    next_measurement: NextMeasurement | None = None
    warnings: tuple[str, ...] = ()
    overlapping_lattices: OverlappingLattices | None = None
    twist: Twist | None = None

    @cached_property
    def best_match(self) -> Match | None:
        """Match of the first candidate that has one."""
        return next((candidate.match for candidate in self.candidates if candidate.match), None)

    @property
    def best_score(self) -> float:
        """Highest ln likelihood of any refined candidate; -inf if none was refined."""
        matches = [candidate.match for candidate in self.candidates if candidate.match]
        return max((match.score for match in matches if match.refined), default=-inf)

    def reduce_probabilities(self, factor: float, warning: str) -> Self:
        """Multiply every probability by a factor and add a warning; the confidence set is discarded.

        Args:
            factor: probability that the assumption behind this result is true.
            warning: sentence that states the assumption.
        """
        candidates = tuple(
            replace(
                candidate,
                probability=None if candidate.probability is None else factor * candidate.probability,
                in_confidence_set=None,
            )
            for candidate in self.candidates
        )
        highest = max((candidate.probability or 0.0 for candidate in candidates), default=0.0)
        return replace(
            self,
            candidates=candidates,
            verdict=lower_verdict(self.verdict, highest),
            confidence_set_size=None,
            warnings=(*self.warnings, warning),
        )
