"""A search request, and which crystals its chemistry admits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import Composition
from index.chemistry.elements import Bitmap, ElementFilter
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.matching import depth
from model.pattern.observation import Observation
from model.pattern.spots import Spots

Effort = Literal["search", "verify", "full"]

# Default share of cases in which the confidence set contains the crystal.
COVERAGE = 0.95


@dataclass(frozen=True)
class Admission:
    """Which crystals of an index the known chemistry admits.

    Attributes:
        allowed: a bit for each crystal; None admits all.
        bonus: (N,) what a measured composition adds to each crystal's similarity, 0 at most; None adds nothing.
    """

    allowed: Bitmap | None = None
    bonus: NDArray[np.float64] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no crystal is admitted."""
        return self.allowed is not None and not self.allowed.any()


@dataclass(frozen=True)
class SearchQuery:
    """A pattern with everything that the request states about it.

    Attributes:
        spots: the pattern.
        voltage_kv: accelerating voltage.
        top_k: how many candidates are requested.
        effort: see `Retriever.search`.
        coverage: of the confidence set.
        elements: condition on the elements.
        composition: measured atomic fractions.
        admission: the crystals that elements and composition admit.
        picked_lattice: the pattern's lattice as the user picked it; None if the spots have to show it.
    """

    spots: Spots
    voltage_kv: float
    top_k: int
    effort: Effort
    coverage: float = COVERAGE
    elements: ElementFilter | None = None
    composition: Composition | None = None
    admission: Admission = Admission()
    picked_lattice: PatternLattice | None = None

    def find_lattice(self) -> PatternLattice | None:
        """Return the pattern's lattice, picked or found from the spots; None if they show none."""
        return self.picked_lattice or index_pattern(Observation.from_spots(self.spots, self.voltage_kv))

    @property
    def pool_size(self) -> int:
        """Number of candidates that the towers must supply."""
        if self.effort == "search":
            return self.top_k
        return max(self.top_k, depth.DEPTHS[self.effort, self.spots.intensity is not None].pool)
