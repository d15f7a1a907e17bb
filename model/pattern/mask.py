"""Regions of a pattern that do not count: a beam stop's shadow, a neighbour's spots, the camera's flaws."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def mask_spots(spots: Spots, boxes: FloatArray) -> Spots:
    """The pattern without the spots in boxes; beams of a crystal that fall there will not be missed.

    Args:
        spots: the pattern.
        boxes: (H, 4) x and y of two opposite corners, in pixels where the positions are, else 1/angstrom.

    Raises:
        NoSpotsError: fewer than three spots are left.
    """
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    positions = spots.q_inv_angstrom if spots.pixels is None else spots.pixels
    left = outside(positions, np.hstack([low, high]))
    return replace(
        spots.take(left),
        masks_inv_angstrom=np.hstack([_in_reciprocal_space(corner, spots) for corner in (low, high)]),
    )


def outside(positions: FloatArray, boxes: FloatArray) -> BoolArray:
    """(...) positions (..., 2) that lie in none of the boxes (H, 4): x and y of the lower corner, and of the upper."""
    place = positions[..., None, :]
    inside = (place >= boxes[:, :2]) & (place <= boxes[:, 2:])
    return ~np.asarray(inside.all(axis=-1).any(axis=-1))


def _in_reciprocal_space(corners: FloatArray, spots: Spots) -> FloatArray:
    """(H, 2) corners in 1/angstrom; a box stays one though the camera may bend it by some parts of a thousand."""
    if spots.pixels is None or spots.center_px is None or spots.pixel_size_inv_angstrom is None:
        return corners
    return np.asarray((corners - spots.center_px) * spots.pixel_size_inv_angstrom)
