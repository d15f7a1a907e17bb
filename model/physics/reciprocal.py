"""Plane lattices, many at once, and their reciprocals, in the crystallographic convention a . a* = 1, without 2 pi.

LAPACK handles one 2 by 2 matrix at a time and takes ten times as long as the formulas here.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def compute_determinants(matrices: FloatArray) -> FloatArray:
    """Return the (...) determinants of (..., 2, 2) matrices."""
    return np.asarray(matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0])


def invert_matrices(matrices: FloatArray) -> FloatArray:
    """Return the (..., 2, 2) inverses of (..., 2, 2) matrices; singular ones give values that are not finite."""
    adjugate = np.empty(matrices.shape)
    adjugate[..., 0, 0], adjugate[..., 1, 1] = matrices[..., 1, 1], matrices[..., 0, 0]
    adjugate[..., 0, 1], adjugate[..., 1, 0] = -matrices[..., 0, 1], -matrices[..., 1, 0]
    return np.asarray(adjugate / compute_determinants(matrices)[..., None, None])


def find_nearest_points(bases: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the indices (K, N, 2) of the point of each lattice nearest to each vector; its squared distance (K, N).

    The distance from the origin counts as infinite: the direct beam is there, and no spot.

    Args:
        bases: (K, 2, 2) of the lattices, nearly reduced.
        vectors: (N, 2).
    """
    fractional = vectors @ invert_matrices(bases)
    hk = np.rint(fractional)
    off = (fractional - hk) @ bases
    is_origin = (hk[..., 0] == 0) & (hk[..., 1] == 0)
    return hk, np.where(is_origin, np.inf, off[..., 0] ** 2 + off[..., 1] ** 2)


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
