"""Search for a pattern whose scale is known: the most similar crystals, and those whose lattice fits."""

import numpy as np
from numpy.typing import NDArray

from index.search.opened_index import Neighbors, OpenedIndex
from index.search.query import SearchQuery
from index.search.results import Candidate, SearchResult
from index.search.verification import verify_candidates
from model.indexing.pattern_lattice import PatternLattice
from model.stopwatch import Stopwatch


class KnownScaleSearch:
    """Searches an index at the scale that the pattern states."""

    def __init__(self, index: OpenedIndex) -> None:
        self._index = index

    def search(self, query: SearchQuery, vector: NDArray[np.float32] | None = None) -> SearchResult:
        """Return the candidates, verified unless the effort is "search".

        Args:
            query: the scale of its pattern is known.
            vector: (D,) the pattern's vector; computed if None.
        """
        watch = Stopwatch()
        candidates, lattice = self.find_candidates(query, watch, vector)
        if query.effort == "search":
            return SearchResult(candidates, watch.milliseconds)
        return verify_candidates(self._index, candidates, query, lattice, watch)

    def find_candidates(
        self, query: SearchQuery, watch: Stopwatch, vector: NDArray[np.float32] | None = None
    ) -> tuple[tuple[Candidate, ...], PatternLattice | None]:
        """Return the candidates and, where they are to be verified, the pattern's lattice."""
        if vector is None:
            (vector,) = self._index.embed([query.spots], [query.voltage_kv])
            watch.lap("embed")
        neighbors = self._index.find_nearest(vector, query.admission, query.pool_size)
        watch.lap("search")
        lattice = None
        if query.effort != "search":
            lattice = query.find_lattice()
            if lattice is not None:
                neighbors = self._add_fitting(query, vector, lattice, neighbors)
            watch.lap("lattice")
        candidates = self._index.make_candidates(neighbors, query.admission)
        watch.lap("collect")
        return candidates, lattice

    def _add_fitting(
        self, query: SearchQuery, vector: NDArray[np.float32], lattice: PatternLattice, nearest: Neighbors
    ) -> Neighbors:
        """Add the crystals whose lattice fits; they replace the others where the user picked the lattice."""
        admission = self._index.admit_fitting(lattice.basis, query.spots, query.admission)
        fitting = self._index.find_nearest(vector, admission, query.pool_size)
        if query.picked_lattice is not None and len(fitting.row):
            return fitting
        return self._index.merge(nearest, fitting)
