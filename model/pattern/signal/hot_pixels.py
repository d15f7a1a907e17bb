"""Pixels that count by themselves: cosmic rays, defects of the camera."""

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]

# A spot of the narrowest kind (deviation 0.6 pixels) still has a quarter of its height beside its middle.
_LARGEST_NEIGHBOUR = 0.15
_SIGMAS = 10.0
_MOST = 5000
_SAMPLED = 20_011


def without_hot_pixels(counts: FloatImage) -> FloatImage:
    """The frame with single bright pixels replaced by the median of their neighbours.

    Hot is a pixel that stands out from all eight neighbours while none of these stands out itself.
    """
    sample = counts.ravel()[:: max(1, counts.size // _SAMPLED)]
    ground = float(np.median(sample))
    noise = max(1.4826 * float(np.median(np.abs(sample - ground))), 1e-6 * float(np.ptp(sample)), 1e-30)
    # Few pixels are so far above the ones beside them; only those are looked at more closely.
    rows, columns = _steep_places(counts, np.float32(_SIGMAS * noise))
    if not 0 < len(rows) <= _MOST:
        return counts
    around = np.stack(
        [counts[rows + dy, columns + dx] for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)],
        axis=1,
    )
    middle = np.median(around, axis=1)
    height = counts[rows + 1, columns + 1] - middle
    hot = (around.max(axis=1) - middle < _LARGEST_NEIGHBOUR * height) & (height > _SIGMAS * noise)
    if not hot.any():
        return counts
    cleaned = counts.copy()
    cleaned[rows[hot] + 1, columns[hot] + 1] = middle[hot]
    return cleaned


def _steep_places(counts: FloatImage, height: np.float32) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns, less one, of inner pixels that stand so high above the four beside them."""
    inner = counts[1:-1]
    # One comparison of the whole frame leaves few places to look at.
    rows, columns = np.nonzero(inner[:, 1:-1] - inner[:, :-2] > height)
    value = inner[rows, columns + 1]
    beside = np.maximum(
        inner[rows, columns + 2], np.maximum(counts[rows, columns + 1], counts[rows + 2, columns + 1])
    )
    steep = value - beside > height
    return rows[steep], columns[steep]
