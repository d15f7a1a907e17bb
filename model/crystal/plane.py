"""Many matrices of the plane at once, by arithmetic: LAPACK takes ten times as long, one matrix after another."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def compute_determinants(matrices: FloatArray) -> FloatArray:
    """(...) determinants of (..., 2, 2) matrices."""
    return np.asarray(matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0])


def invert_matrices(matrices: FloatArray) -> FloatArray:
    """(..., 2, 2) inverses of (..., 2, 2) matrices; not finite of those that have none."""
    adjugate = np.empty(matrices.shape)
    adjugate[..., 0, 0], adjugate[..., 1, 1] = matrices[..., 1, 1], matrices[..., 0, 0]
    adjugate[..., 0, 1], adjugate[..., 1, 0] = -matrices[..., 0, 1], -matrices[..., 1, 0]
    return np.asarray(adjugate / compute_determinants(matrices)[..., None, None])
