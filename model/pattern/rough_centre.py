"""A first guess of the centre, from all of a frame at once."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]

_COARSE_SIDE = 160


def symmetry_centre(image: FloatImage) -> tuple[float, float]:
    """The x, y about which the frame turned by half a turn agrees best with itself.

    The autoconvolution A(2c) = sum_x g(x) g(2c - x) of the block-averaged image g above its median is largest
    at the centre of inversion, wherever the brightest pixel is. Good to about a block, frame side / 160.
    """
    block = max(1, max(image.shape) // _COARSE_SIDE)
    height, width = (side // block for side in image.shape)
    coarse = image[: height * block, : width * block].reshape(height, block, width, block).mean(axis=(1, 3))
    # A beam stop is darker than most of the frame; cut off, it has no symmetry of its own to offer.
    coarse = np.maximum(coarse - np.median(coarse), 0)
    shape = [scipy.fft.next_fast_len(2 * side, real=True) for side in coarse.shape]
    transform = scipy.fft.rfft2(coarse, shape)
    agreement = scipy.fft.irfft2(transform * transform, shape)
    # The centre lies in the middle half of the frame; farther out the overlap is too small to tell.
    rows = slice(height // 2, 2 * height - height // 2)
    columns = slice(width // 2, 2 * width - width // 2)
    y, x = np.unravel_index(int(np.argmax(agreement[rows, columns])), agreement[rows, columns].shape)
    centre = (np.array([x + columns.start, y + rows.start]) / 2 + 0.5) * block - 0.5
    return float(centre[0]), float(centre[1])
