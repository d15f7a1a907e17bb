"""Inpainting: replace marked pixels of a picture with the surrounding background."""

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

BoolImage = NDArray[np.bool_]

_MAX_BLOCKS = 24


def inpaint(image: NDArray[Any], marked: BoolImage) -> NDArray[Any]:
    """Replace the marked pixels, and those that touch them, with the surrounding background.

    The background is the median of blocks, interpolated between their centers. Nearer pixels are not used because they
    can belong to a spot inside a drawn circle.

    Args:
        image: (H, W).
        marked: (H, W) pixels to replace.

    Returns:
        (H, W) the image without them; the image itself where all pixels are marked.
    """
    marked = scipy.ndimage.binary_dilation(marked)
    if marked.all():
        return image
    height, width = image.shape
    rows, columns = (
        np.linspace(0, size, min(_MAX_BLOCKS, size // 8 + 1) + 1).astype(int) for size in (height, width)
    )
    background = np.full((len(rows) - 1, len(columns) - 1), np.nan)
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            block = slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1])
            known = image[block][~marked[block]]
            if len(known) > marked[block].size // 4:
                background[i, j] = _compute_median(known)
    if np.isnan(background).any():
        background[np.isnan(background)] = _compute_median(image[~marked])
    y, x = np.nonzero(marked)
    place = [
        (y + 0.5) * background.shape[0] / height - 0.5,
        (x + 0.5) * background.shape[1] / width - 0.5,
    ]
    result = image.copy()
    result[marked] = scipy.ndimage.map_coordinates(background, place, order=1, mode="nearest")
    return result


def _compute_median(values: NDArray[Any]) -> float:
    """Return the median in double precision; only single-precision values are converted, as counts need no copy."""
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)].astype(np.float64)
    return float(np.median(values))
