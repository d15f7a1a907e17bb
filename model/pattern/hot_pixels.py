"""Pixels that count by themselves: cosmic rays, defects of the camera."""

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]

# A spot of the narrowest kind (deviation 0.6 pixels) still has a quarter of its height beside its middle.
_LARGEST_NEIGHBOUR = 0.15
_SIGMAS = 10.0
_MOST = 5000


def without_hot_pixels(counts: FloatImage) -> FloatImage:
    """The frame with single bright pixels replaced by the median of their neighbours.

    Hot is a pixel that stands out from all eight neighbours while none of these stands out itself.
    """
    inner = counts[1:-1, 1:-1]
    beside = np.maximum(
        np.maximum(counts[:-2, 1:-1], counts[2:, 1:-1]), np.maximum(counts[1:-1, :-2], counts[1:-1, 2:])
    )
    sample = counts.ravel()[::17]
    ground = float(np.median(sample))
    noise = max(1.4826 * float(np.median(np.abs(sample - ground))), 1e-6 * float(np.ptp(sample)), 1e-30)
    # Few pixels are so far above the ones beside them; only those are looked at more closely.
    rows, columns = np.nonzero(inner - beside > np.float32(_SIGMAS * noise))
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
