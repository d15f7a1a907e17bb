"""A search for the crystals of a pattern whose scale nobody knows: each is met at the scale that its lattice implies.

The towers judge a pattern at any scale, and its own lattice tells which scale each crystal would need. Axes: G scales,
R crystals, D numbers a vector.
"""

from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from model.indexing.lattice_table import LatticeMatches
from model.pattern.scale import MAX_COMPARED_Q_INV_ANGSTROM
from model.pattern.spots import MIN_SPOTS, Spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The towers bear 1.5 % of error, so this lattice of scales leaves no crystal further than that from one.
STEP = 0.025
# Where the outermost spots of a pattern lie at least and at most, 1/angstrom: nearer, it shows too little to be
# identified, and farther out hardly any layer scatters.
REACH_INV_ANGSTROM = (0.4, 2.6)
_OUTERMOST = 0.95


def scales_of(spots: Spots, doubt: float = np.inf) -> FloatArray:
    """(G,) lengths in the pattern's units over true ones, ascending by equal steps of their logarithm; perhaps none.

    Args:
        spots: the pattern.
        doubt: how far the scale may be off, as a logarithm; infinite where it is unknown.
    """
    lengths = np.hypot(*spots.q_inv_angstrom.T)
    radius = float(np.quantile(lengths, _OUTERMOST))
    nearest, farthest = REACH_INV_ANGSTROM
    lowest, highest = max(log(radius / farthest), -doubt), min(log(radius / nearest), doubt)
    if lowest > highest:
        return np.empty(0)
    scales = np.exp(lowest + STEP * np.arange(ceil((highest - lowest) / STEP) + 1))
    # The towers have to see some of the spots.
    compared = (lengths[:, None] / scales <= MAX_COMPARED_Q_INV_ANGSTROM).sum(axis=0)
    return np.asarray(scales[compared >= MIN_SPOTS])


@dataclass(frozen=True)
class AtScale:
    """K crystals, each at its best scale, best first.

    Attributes:
        row: (K,) in the index.
        similarity: (K,) of the towers there.
        scale: (K,) lengths in the pattern's units over true ones, in reciprocal space.
    """

    row: IntArray
    similarity: FloatArray
    scale: FloatArray


def at_best_scale(
    similarity: NDArray[np.float32], scales: FloatArray, rows: IntArray, fitting: LatticeMatches | None
) -> AtScale:
    """The crystals in the order of their similarity at the best scale that the pattern's lattice lets them have.

    Args:
        similarity: (G, R) of the towers.
        scales: (G,) as `scales_of` gives them.
        rows: (R,) of the crystals in the index, ascending.
        fitting: crystals that the pattern's lattice fits; None where it has none, which admits all scales.
    """
    if fitting is None:
        best = similarity.argmax(axis=0)
        return _ordered(rows, similarity[best, np.arange(len(rows))].astype(np.float64), scales[best])
    cell = np.rint(np.log(fitting.scale / scales[0]) / STEP).astype(np.int64)
    place = np.minimum(np.searchsorted(rows, fitting.crystal), max(len(rows) - 1, 0))
    usable = (cell >= 0) & (cell < len(scales))
    usable &= (rows[place] == fitting.crystal) if len(rows) else False
    place, cell, scale = place[usable], cell[usable], fitting.scale[usable]
    return _ordered(rows[place], similarity[cell, place].astype(np.float64), scale)


def _ordered(row: IntArray, similarity: FloatArray, scale: FloatArray) -> AtScale:
    """Best first, each crystal once."""
    order = np.argsort(-similarity, kind="stable")
    order = order[np.sort(np.unique(row[order], return_index=True)[1])]
    return AtScale(row[order], similarity[order], scale[order])
