"""What is searched for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.chemistry.elements import Bitmap
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.matching import depth
from model.pattern.observation import Observation
from model.pattern.spots import Spots

Effort = Literal["search", "verify", "full"]

# In which share of cases the set of candidates holds the crystal, unless asked otherwise.
COVERAGE = 0.95


@dataclass(frozen=True)
class SearchQuery:
    """A pattern with all that is said of it.

    Attributes:
        spots: the pattern.
        voltage_kv: accelerating voltage.
        allowed: a bit for each crystal that may be found; None allows all.
        top_k: candidates wanted.
        effort: as `Retriever.search` takes it.
        coverage: of the set of candidates.
        bonus: (N,) what is added to each crystal's similarity; None for nothing.
        picked: the pattern's lattice as the user has picked it; None where it is to be found.
    """

    spots: Spots
    voltage_kv: float
    allowed: Bitmap | None
    top_k: int
    effort: Effort
    coverage: float = COVERAGE
    bonus: NDArray[np.float64] | None = None
    picked: PatternLattice | None = None

    def lattice(self) -> PatternLattice | None:
        """The pattern's own, as picked or as its spots show it."""
        return self.picked or index_pattern(Observation.from_spots(self.spots, self.voltage_kv))

    @property
    def pool(self) -> int:
        """How many candidates the towers have to give."""
        if self.effort == "search":
            return self.top_k
        return max(self.top_k, depth.choose_depth(self.effort, self.spots).pool)
