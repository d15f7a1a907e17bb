"""The part of a pattern that is compared with crystals."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.spots import DIRECT_BEAM_RADIUS_INV_ANGSTROM, Spots, find_unmasked

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_SPOTS = 160
Q_MAX_INV_ANGSTROM = 1.65
SATURATION_SIGMA = 0.07
"""rms error of ln I of a saturated spot, for each unit of ln I that it lies above the camera's largest count.

Measured on 2,415 saturated spots of rendered frames: 0.02 below 0.3, 0.07 near 1, 0.12 near 1.6, 0.13 near 2.5.
"""
_DETECTION_LIMIT_QUANTILE = 0.02


@dataclass(frozen=True)
class Observation:
    """The spots that a crystal has to explain, strongest first (innermost first without intensities).

    Attributes:
        q_inv_angstrom: (N, 2) scattering vectors, 1/angstrom.
        log_intensity: (N,) ln of the intensity over that of the strongest spot; zeros where unknown.
        has_intensity: whether the pattern has intensities.
        voltage_kv: accelerating voltage.
        saturated: (N,) whether the intensity is estimated because the spot is saturated; all False for points.
        masks: (H, 4) masked rectangles, x and y of the lower and of the upper corner, 1/angstrom.
    """

    q_inv_angstrom: FloatArray
    log_intensity: FloatArray
    has_intensity: bool
    voltage_kv: float
    saturated: BoolArray
    masks: FloatArray = field(default_factory=lambda: np.empty((0, 4)))

    @classmethod
    def from_spots(cls, spots: Spots, voltage_kv: float) -> Self:
        """Select the strongest MAX_SPOTS outside the direct beam and within the models' range; NoSpotsError if none."""
        length = np.linalg.norm(spots.q_inv_angstrom, axis=1)
        in_range = np.flatnonzero((length > DIRECT_BEAM_RADIUS_INV_ANGSTROM) & (length <= Q_MAX_INV_ANGSTROM))
        if not len(in_range):
            raise NoSpotsError(
                f"No spots lie between {DIRECT_BEAM_RADIUS_INV_ANGSTROM:g} and {Q_MAX_INV_ANGSTROM:g} 1/angstrom from "
                "the direct beam; check the scale."
            )
        key = length if spots.intensity is None else -spots.intensity
        kept = in_range[np.argsort(key[in_range], kind="stable")][:MAX_SPOTS]
        log_intensity = np.zeros(len(kept)) if spots.intensity is None else np.log(spots.intensity[kept])
        saturated = np.zeros(len(spots), dtype=bool) if spots.exposure is None else spots.exposure.saturated
        return cls(
            q_inv_angstrom=spots.q_inv_angstrom[kept],
            log_intensity=log_intensity - log_intensity.max(),
            has_intensity=spots.intensity is not None,
            voltage_kv=voltage_kv,
            saturated=saturated[kept],
            masks=spots.masks_inv_angstrom,
        )

    def __len__(self) -> int:
        return len(self.q_inv_angstrom)

    def rescale(self, factor: float) -> Self:
        """Return the observation with all lengths multiplied by a factor."""
        return (
            self
            if factor == 1.0
            else replace(self, q_inv_angstrom=self.q_inv_angstrom * factor, masks=self.masks * factor)
        )

    def is_visible(self, q: FloatArray) -> BoolArray:
        """Return whether reflections at q (..., 2) can be seen, that is, lie outside every mask; (...) booleans."""
        return find_unmasked(q, self.masks) if len(self.masks) else np.ones(q.shape[:-1], dtype=bool)

    @cached_property
    def q_max_inv_angstrom(self) -> float:
        """Largest |q| that is compared: that of the farthest spot, or the range of the models."""
        return min(float(np.sqrt(self.q_squared.max())), Q_MAX_INV_ANGSTROM)

    @cached_property
    def q_squared(self) -> FloatArray:
        """(N,) |q|^2, 1/angstrom^2."""
        return np.asarray(np.einsum("nd,nd->n", self.q_inv_angstrom, self.q_inv_angstrom))

    @cached_property
    def saturation_variance(self) -> FloatArray:
        """(N,) variance of ln I that saturation adds; 0 for spots that are not saturated."""
        return estimate_saturation_variance(self.log_intensity, self.saturated)

    @cached_property
    def log_detection_limit(self) -> float:
        """ln of the intensity below which spots are not seen, a low quantile because weak spots can be false."""
        return float(np.quantile(self.log_intensity, _DETECTION_LIMIT_QUANTILE))


def estimate_saturation_variance(log_intensity: FloatArray, saturated: BoolArray) -> FloatArray:
    """Return the variance of ln I that saturation adds to each spot; 0 for spots that are not saturated.

    The height of a saturated spot is extrapolated from its unsaturated pixels. A wrong width makes it more wrong the
    more of the spot is cut off. The strongest unsaturated spot stands for the camera's largest count.

    Args:
        log_intensity: (N,) ln of the intensities.
        saturated: (N,) whether a spot is saturated.

    Returns:
        (N,) variances.
    """
    if not saturated.any():
        return np.zeros(len(saturated))
    others = log_intensity[~saturated]
    above = log_intensity - (others.max() if len(others) else log_intensity.min())
    return np.where(saturated, (SATURATION_SIGMA * np.maximum(above, 0)) ** 2, 0.0)
