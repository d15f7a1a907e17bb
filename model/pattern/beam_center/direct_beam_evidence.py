"""Whether a centre of symmetry is the direct beam, or only a node that any piece of a lattice is symmetric about."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.signal.diffuse_background import DiffuseGround
from model.pattern.signal.peaks import Peaks

FloatArray = NDArray[np.float64]

# In sides of the frame. Of 364 rendered frames with the direct beam inside nine in ten are brightest within it, of 244
# with it outside, or beside the symmetric node, one in sixty.
_BRIGHTEST_WITHIN = 0.12
_FEWEST = 20
# ln of the heights per side, the share of their variance that an even slope takes, and correlation of mates. All of the
# 364 frames that are not brightest about the centre pass, and one in sixty of the 244.
_SHALLOWEST, _MOST_SLOPING, _LEAST_ALIKE = -3.0, 0.08, 0.25


def is_brightest_about(center: FloatArray, ground: DiffuseGround) -> bool:
    """Whether the ground between the spots is brightest about a centre (2,)."""
    return ground.farthest_of_brightest(center) < _BRIGHTEST_WITHIN


def fall_off_about(center: FloatArray, peaks: Peaks, sigma: float, side: int) -> bool:
    """Whether heights fall off from a centre (2,) to all sides, mates having like ones.

    Args:
        center: x, y in pixels.
        peaks: the spots, the direct beam not among them.
        sigma: their deviation, pixels.
        side: pixels along the longer side of the frame.
    """
    if len(peaks) < _FEWEST:
        return False
    offset = (peaks.pixels - center) / side
    height = np.log(np.maximum(peaks.amplitude, 1e-30))
    ones = np.ones(len(peaks))
    slope, deviation = _fitted(np.column_stack([np.hypot(*offset.T), ones]), height)
    _, unsloped = _fitted(np.column_stack([offset, ones]), height)
    sloping = 1 - float(unsloped @ unsloped) / max(float(np.sum((height - height.mean()) ** 2)), 1e-12)
    distance, mate = cKDTree(offset).query(-offset)
    paired = distance < max(2 * sigma, 3.0) / side
    own, other = deviation[paired], deviation[mate[paired]]
    if len(own) < _FEWEST or sloping > _MOST_SLOPING or slope[0] > _SHALLOWEST:
        return False
    return float(own @ other) > _LEAST_ALIKE * float(own @ own)


def _fitted(design: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least squares, and what they leave."""
    solution = np.asarray(np.linalg.lstsq(design, value, rcond=None)[0], dtype=np.float64)
    return solution, value - design @ solution
