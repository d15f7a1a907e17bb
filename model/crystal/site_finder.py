"""Finds which atom of a layer lies at a place, in time that hardly grows with the number of atoms."""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.crystal.elements import element_symbol
from model.crystal.layer import Layer
from model.errors import CrystalError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SAME_PLACE_ANGSTROM = 0.1
_CELLS = np.array(list(product((-1.0, 0.0, 1.0), repeat=2)))


class SiteFinder:
    """Finds atoms of a layer, periodic images included.

    Args:
        layer: N atoms, in any cell.

    Raises:
        CrystalError: an atom is listed twice; many atoms at one place could not be searched fast.
    """

    def __init__(self, layer: Layer) -> None:
        self._lattice = layer.lattice
        images = (_wrap(layer.xy)[:, None] + _CELLS).reshape(-1, 2)
        count = len(_CELLS)
        self._tree = cKDTree(self._locate(np.repeat(layer.numbers, count), images, np.repeat(layer.z, count)))
        places = self._locate(layer.numbers, _wrap(layer.xy), layer.z)
        apart, _ = self._tree.query(places, k=2, distance_upper_bound=_SAME_PLACE_ANGSTROM)
        if np.isfinite(apart[:, 1]).any():
            symbol = element_symbol(int(layer.numbers[apart[:, 1].argmin()]))
            raise CrystalError(
                f"Overlapping atoms: {symbol} and {symbol} are {apart[:, 1].min():.2f} angstrom apart; list each atom "
                "once."
            )

    def find_nearest(
        self, numbers: IntArray, xy: FloatArray, z: FloatArray, reach_angstrom: float
    ) -> IntArray | None:
        """Return the nearest atom of the same element for each of M places; None if one place has none.

        Args:
            numbers: (M,) atomic numbers.
            xy: (M, 2) fractional coordinates.
            z: (M,) angstrom.
            reach_angstrom: largest distance, below 1.

        Returns:
            (M,) indices of atoms.
        """
        places = self._locate(numbers, _wrap(xy), z)
        # A few places rule out most of what is tried.
        for part in (places[:4], places):
            _, found = self._tree.query(part, distance_upper_bound=reach_angstrom)
            if found.max() == self._tree.n:
                return None
        return np.asarray(found // len(_CELLS))

    def match_arrangements(
        self, numbers: IntArray, xy: FloatArray, z: FloatArray, reach_angstrom: float
    ) -> tuple[IntArray, IntArray]:
        """Find which of K arrangements of N atoms have an atom of the same element at every place.

        Args:
            numbers: (N,) atomic numbers.
            xy: (K, N, 2) fractional coordinates.
            z: (K, N) angstrom.
            reach_angstrom: largest distance, below 1.

        Returns:
            (S,) which, and (S, N) the nearest atom to each place.
        """
        rows, done = np.arange(len(xy)), np.empty((len(xy), 0), dtype=np.int64)
        while (start := done.shape[1]) < len(numbers):
            atoms = slice(start, 2 * start + 1)  # most arrangements differ in the first few
            kinds = np.broadcast_to(numbers[atoms], z[rows, atoms].shape)
            places = self._locate(
                kinds.ravel(), _wrap(xy[rows, atoms].reshape(-1, 2)), z[rows, atoms].ravel()
            )
            _, found = self._tree.query(places, distance_upper_bound=reach_angstrom)
            found = found.reshape(kinds.shape)
            matches = (found < self._tree.n).all(axis=1)
            rows = rows[matches]
            done = np.concatenate([done[matches], found[matches] // len(_CELLS)], axis=1)
        return rows, done

    def _locate(self, numbers: IntArray, xy: FloatArray, z: FloatArray) -> FloatArray:
        """Return points (M, 4), in which different elements are at least 1 apart."""
        return np.column_stack([xy @ self._lattice, z, numbers])


def _wrap(xy: FloatArray) -> FloatArray:
    return xy - np.floor(xy)
