"""How far a spot's measured ln intensity lies from the computed one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Complexes = NDArray[np.complexfloating[Any, Any]]

# Diffuse scattering and relaxed atoms fill in faint beams: their ln I is uncertain, and never very low.
INTENSITY_FLOOR = 3e-4
FAINT_INTENSITY = 6e-4


@dataclass(frozen=True)
class IntensityNoise:
    """Of ln I: Student's t, its variance the sum of what model, spot finder and faintness leave.

    Attributes:
        model_sigma: rms that the model leaves.
        spot_sigma: rms that camera and spot finder add.
        freedom: degrees of freedom: how rare outliers are.
    """

    model_sigma: float
    spot_sigma: float
    freedom: float

    def variance(self, intensity: Floats) -> FloatArray:
        """Expected variance of ln I of beams with these relative intensities."""
        return np.asarray(self.model_sigma**2 + self.spot_sigma**2 + FAINT_INTENSITY / (intensity + 1e-3))

    def log_density(self, residual: Floats, variance: Floats) -> FloatArray:
        """ln of the density of a residual, up to a constant."""
        tails = np.log1p(residual**2 / (self.freedom * variance))
        return np.asarray(-(self.freedom + 1) / 2 * tails - np.log(variance) / 2)

    def robust_weight(self, residual: Floats, variance: Floats) -> FloatArray:
        """Weight of a residual in least squares, by which they find the maximum of `log_density`."""
        return np.asarray((self.freedom + 1) / (self.freedom + residual**2 / variance) / variance)

    def curvature(self, variance: Floats) -> FloatArray:
        """Expected negative second derivative of `log_density`, which is its Fisher information."""
        return np.asarray((self.freedom + 1) / (self.freedom + 3) / variance)


def compute_log_slopes(amplitude: Complexes, slopes: Complexes, intensity: Floats) -> Floats:
    """(..., K) derivatives of ln I, floored, given those of the amplitudes (...), which are (..., K), and I (...)."""
    steep: Floats = 2 * (amplitude.conj()[..., None] * slopes).real
    return np.asarray(steep / (intensity + INTENSITY_FLOOR)[..., None])


ROUGH_NOISE = IntensityNoise(model_sigma=0.2, spot_sigma=0.15, freedom=4.0)
"""Before the atoms may move: what they do is part of the model's error then."""
