"""How far a spot's measured ln intensity lies from the computed one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]

# rms of ln I that the multislice leaves, and that a spot finder adds; the tails are those of Student's t.
MODEL_SIGMA = 0.2
SPOT_SIGMA = 0.15
FREEDOM = 4.0
# Diffuse scattering and relaxed atoms fill in faint beams: their ln I is uncertain, and never very low.
FLOOR = 3e-4
FAINT = 6e-4
MEDIAN_OF_SQUARE = 0.549
"""Of the square of a variable with Student's t of four degrees of freedom."""


def expected_variance(intensity: Floats) -> FloatArray:
    """Expected variance of ln I of beams with these relative intensities."""
    return np.asarray(MODEL_SIGMA**2 + SPOT_SIGMA**2 + FAINT / (intensity + 1e-3))


def log_density(residual: Floats, variance: Floats) -> FloatArray:
    """ln of Student's t, up to a constant."""
    tails = np.log1p(residual**2 / (FREEDOM * variance))
    return np.asarray(-(FREEDOM + 1) / 2 * tails - np.log(variance) / 2)


def robust_weight(residual: Floats, variance: Floats) -> FloatArray:
    """Weight of a residual in least squares, by which they find the maximum of `log_density`."""
    return np.asarray((FREEDOM + 1) / (FREEDOM + residual**2 / variance) / variance)
