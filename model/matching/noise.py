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
# rms of ln I of saturated spots, for each that they lie above the camera's level: of 2,415 of rendered frames 0.02
# below 0.3, 0.07 about 1, 0.12 about 1.6, 0.13 about 2.5. Less than half of it is bias or skew: flanks know more than
# that the camera was full.
FLANK_SIGMA = 0.07
MEDIAN_OF_SQUARE = 0.549
"""Of the square of a variable with Student's t of four degrees of freedom."""


def expected_variance(intensity: Floats) -> FloatArray:
    """Expected variance of ln I of beams with these relative intensities."""
    return np.asarray(MODEL_SIGMA**2 + SPOT_SIGMA**2 + FAINT / (intensity + 1e-3))


def flank_variance(log_intensity: FloatArray, saturated: NDArray[np.bool_]) -> FloatArray:
    """(N,) variance of ln I that the flanks of saturated spots add; 0 of others.

    A width that is a little wrong makes a height the more wrong, the more of the spot is cut off, to either side alike.
    How much is, is told by the strongest of the others, which stands for the level of the camera.
    """
    if not saturated.any():
        return np.zeros(len(saturated))
    others = log_intensity[~saturated]
    above = log_intensity - (others.max() if len(others) else log_intensity.min())
    return np.where(saturated, (FLANK_SIGMA * np.maximum(above, 0)) ** 2, 0.0)


def log_density(residual: Floats, variance: Floats) -> FloatArray:
    """ln of Student's t, up to a constant."""
    tails = np.log1p(residual**2 / (FREEDOM * variance))
    return np.asarray(-(FREEDOM + 1) / 2 * tails - np.log(variance) / 2)


def robust_weight(residual: Floats, variance: Floats) -> FloatArray:
    """Weight of a residual in least squares, by which they find the maximum of `log_density`."""
    return np.asarray((FREEDOM + 1) / (FREEDOM + residual**2 / variance) / variance)
