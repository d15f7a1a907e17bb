"""Reciprocal lattice of a layer, in the crystallographic convention a . a* = 1, without 2 pi."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.crystal.plane import invert_matrices

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def reciprocal_lattice(lattice: FloatArray) -> FloatArray:
    """Return (..., 2, 2) rows a*, b* in 1/angstrom for (..., 2, 2) plane lattices with rows a, b in angstrom."""
    if lattice.ndim > 2:
        return np.asarray(np.swapaxes(invert_matrices(lattice), -1, -2))
    (ax, ay), (bx, by) = lattice.tolist()
    return np.asarray(np.array([[by, -bx], [-ay, ax]]) / (ax * by - ay * bx))


def list_reflections(lattice: FloatArray, q_max_inv_angstrom: float) -> IntArray:
    """Return the (M, 2) Miller indices h k with 0 < |h a* + k b*| <= q_max.

    The first M/2 rows hold one member of each Friedel pair, the last M/2 the other, in the same order.
    """
    # h = q . a, so |h| cannot exceed q_max |a|.
    h_max, k_max = np.floor(q_max_inv_angstrom * np.linalg.norm(lattice, axis=1)).astype(int)
    half = _list_half_plane(int(h_max), int(k_max))
    q = half @ reciprocal_lattice(lattice)
    half = half[np.einsum("md,md->m", q, q) <= q_max_inv_angstrom**2]
    return np.concatenate([half, -half])


@lru_cache(maxsize=256)
def _list_half_plane(h_max: int, k_max: int) -> IntArray:
    """Return the (M, 2) indices up to the largest, one member of each Friedel pair, read-only."""
    h, k = np.meshgrid(np.arange(0, h_max + 1), np.arange(-k_max, k_max + 1), indexing="ij")
    half = np.column_stack([h.ravel(), k.ravel()])
    half = half[(half[:, 0] > 0) | (half[:, 1] > 0)]
    half.setflags(write=False)
    return half
