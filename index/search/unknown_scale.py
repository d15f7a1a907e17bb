"""Search for a pattern whose scale is unknown, or known only roughly.

The towers compare the pattern at a series of scales. Its lattice, if it shows one, restricts each crystal to the scales
that the crystal's own lattice implies. Axes: G scales, R crystals, K crystals found.
"""

from dataclasses import dataclass
from math import ceil, inf, log

import numpy as np
from numpy.typing import NDArray

from index.search.opened_index import Neighbors, OpenedIndex
from index.search.query import SearchQuery
from index.search.results import SearchResult
from index.search.verification import verify_candidates
from model.indexing.lattice_table import LatticeMatches
from model.indexing.pattern_lattice import PatternLattice
from model.matching.place_candidates import ScalePrior
from model.pattern.scale import MAX_COMPARED_Q_INV_ANGSTROM
from model.pattern.spots import MIN_SPOTS, Spots
from model.stopwatch import Stopwatch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The towers tolerate 1.5 % of error, so no crystal is farther than that from one of the scales.
STEP = 0.025
# Range of the radius of the outermost spots, 1/angstrom: below it a pattern shows too little to be identified, and
# hardly any layer scatters beyond it.
RADIUS_RANGE_INV_ANGSTROM = (0.4, 2.6)
_OUTERMOST_QUANTILE = 0.95


class UnknownScaleSearch:
    """Searches an index at many scales."""

    def __init__(self, index: OpenedIndex) -> None:
        self._index = index

    def search(self, query: SearchQuery) -> SearchResult:
        """Return the candidates at any scale."""
        watch = Stopwatch()
        return self.search_within(inf, query, query.find_lattice(), watch)

    def search_within(
        self, max_deviation: float, query: SearchQuery, lattice: PatternLattice | None, watch: Stopwatch
    ) -> SearchResult:
        """Return the candidates at scales within a range.

        Args:
            max_deviation: how far the scale may be from the stated one, as a logarithm; infinite if it is unknown.
            query: the request.
            lattice: of the pattern, in its units.
            watch: gets a lap for each stage.
        """
        index, spots = self._index, query.spots
        fitting = (
            None if lattice is None else index.components.lattices.find_matches(lattice.basis, max_deviation)
        )
        watch.lap("lattice")
        scales = list_scales(spots, max_deviation)
        if not len(scales):
            return SearchResult((), watch.milliseconds, "no_match", lattice)
        vectors = index.embed(
            [spots.rescale(1 / scale) for scale in scales], [query.voltage_kv] * len(scales)
        )
        watch.lap("embed")
        rows = index.components.bits.list_rows(query.admission.allowed)
        similarity = index.components.vectors.compare(vectors, rows)
        if query.admission.bonus is not None:
            similarity += query.admission.bonus[rows].astype(np.float32)
        at_scale = choose_scales(similarity, scales, rows, fitting)
        best = index.find_distinct(at_scale.row)[: query.pool_size]
        watch.lap("search")
        neighbors = Neighbors(at_scale.similarity[best], at_scale.row[best])
        candidates = index.make_candidates(neighbors, query.admission)
        watch.lap("collect")
        if query.effort == "search":
            return SearchResult(candidates, watch.milliseconds, lattice=lattice)
        scale = ScalePrior(max_deviation / 2, at_scale.scale[best])
        return verify_candidates(index, candidates, query, lattice, watch, scale)


def list_scales(spots: Spots, max_deviation: float = inf) -> FloatArray:
    """Return (G,) scales in equal steps of their logarithm, ascending; empty if none is possible.

    A scale is a length in the pattern's units over the true one, in reciprocal space.

    Args:
        spots: the pattern.
        max_deviation: how far the scale may be from 1, as a logarithm.
    """
    lengths = np.hypot(*spots.q_inv_angstrom.T)
    radius = float(np.quantile(lengths, _OUTERMOST_QUANTILE))
    smallest, largest = RADIUS_RANGE_INV_ANGSTROM
    lowest, highest = max(log(radius / largest), -max_deviation), min(log(radius / smallest), max_deviation)
    if lowest > highest:
        return np.empty(0)
    scales = np.exp(lowest + STEP * np.arange(ceil((highest - lowest) / STEP) + 1))
    # The towers have to see some of the spots.
    compared = (lengths[:, None] / scales <= MAX_COMPARED_Q_INV_ANGSTROM).sum(axis=0)
    return np.asarray(scales[compared >= MIN_SPOTS])


@dataclass(frozen=True)
class ScaledNeighbors:
    """Crystals, each at its best scale, ordered by similarity, best first.

    Attributes:
        row: (K,) rows of the index.
        similarity: (K,) at that scale.
        scale: (K,) lengths in the pattern's units over true ones, in reciprocal space.
    """

    row: IntArray
    similarity: FloatArray
    scale: FloatArray


def choose_scales(
    similarity: NDArray[np.float32], scales: FloatArray, rows: IntArray, fitting: LatticeMatches | None
) -> ScaledNeighbors:
    """Return the crystals at the scales where they are most similar, among those that the pattern's lattice allows.

    Args:
        similarity: (G, R) cosines.
        scales: (G,) from `list_scales`.
        rows: (R,) rows of the crystals, ascending.
        fitting: crystals whose lattices fit the pattern's, with the scales that this implies; None if the pattern
            shows no lattice, which allows all scales.
    """
    if fitting is None:
        best = similarity.argmax(axis=0)
        return _sort(rows, similarity[best, np.arange(len(rows))].astype(np.float64), scales[best])
    step = np.rint(np.log(fitting.scale / scales[0]) / STEP).astype(np.int64)
    place = np.minimum(np.searchsorted(rows, fitting.crystal), max(len(rows) - 1, 0))
    usable = (step >= 0) & (step < len(scales))
    usable &= (rows[place] == fitting.crystal) if len(rows) else False
    place, step, scale = place[usable], step[usable], fitting.scale[usable]
    return _sort(rows[place], similarity[step, place].astype(np.float64), scale)


def _sort(row: IntArray, similarity: FloatArray, scale: FloatArray) -> ScaledNeighbors:
    """Return each crystal once, at its best scale, best first."""
    order = np.argsort(-similarity, kind="stable")
    order = order[np.sort(np.unique(row[order], return_index=True)[1])]
    return ScaledNeighbors(row[order], similarity[order], scale[order])
