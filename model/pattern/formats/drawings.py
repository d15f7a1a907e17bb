"""Drawings over a picture: taken out of it."""

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

BoolImage = NDArray[np.bool_]

_BLOCKS = 24


def filled(signal: NDArray[Any], drawn: BoolImage) -> NDArray[Any]:
    """(H, W) the signal with drawn pixels, and those that they touch, replaced by the ground around them.

    The ground is the median of blocks, between their middles by interpolation: nearer pixels may belong to a spot that
    a circle goes around.
    """
    drawn = scipy.ndimage.binary_dilation(drawn)
    if drawn.all():
        return signal
    height, width = signal.shape
    known = np.where(drawn, np.nan, signal.astype(np.float64))
    overall = float(np.nanmedian(known))
    rows, columns = (
        np.linspace(0, size, min(_BLOCKS, size // 8 + 1) + 1).astype(int) for size in (height, width)
    )
    ground = np.full((len(rows) - 1, len(columns) - 1), overall)
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            block = known[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            if np.isfinite(block).sum() > block.size // 4:
                ground[i, j] = np.nanmedian(block)
    y, x = np.nonzero(drawn)
    place = [(y + 0.5) * ground.shape[0] / height - 0.5, (x + 0.5) * ground.shape[1] / width - 0.5]
    result = signal.copy()
    result[drawn] = scipy.ndimage.map_coordinates(ground, place, order=1, mode="nearest")
    return result
