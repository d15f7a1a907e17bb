"""A first estimate of the center, from all of a frame at once."""

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.pattern.beam_center.friedel_center import Center, find_friedel_center
from model.pattern.signal.peaks import find_local_maxima
from model.pattern.signal.preprocessing import BinnedImage

FloatImage = NDArray[np.float32]

_COARSE_SIDE = 160
_FILTER_SIGMA = 1.3
_MAX_VOTERS = 160
_MIN_PAIRED_FRACTION, _MIN_PAIRED_FRACTION_FAR = 0.25, 0.6
_COMPARABLE_SUPPORT = 0.38


def estimate_center(counts: FloatImage) -> tuple[float, float]:
    """Estimate the center from the symmetry of the frame, refined with the Friedel pairs of its strong spots.

    Where there are pairs it is good to a few tenths of a pixel, with a direct beam, saturated or not, or a beam stop.

    Args:
        counts: (h, w) of the binned frame.

    Returns:
        x, y.
    """
    sample = counts.ravel()[::7]
    dark = np.partition(sample, len(sample) // 50)[len(sample) // 50]
    root = np.sqrt(np.maximum(counts - dark, 0))
    guess = find_symmetry_center(np.log1p(root))
    contrast = ndi.gaussian_filter(root, _FILTER_SIGMA, truncate=3) - ndi.uniform_filter(root, 11)
    spread = np.median(np.abs(contrast.ravel()[::7])) * 1.4826
    rows, columns = find_local_maxima(contrast, 6 * spread)
    strongest = np.argsort(-contrast[rows, columns])[:_MAX_VOTERS]
    rows, columns = rows[strongest], columns[strongest]
    positions = np.column_stack([columns, rows]).astype(float)
    height = contrast[rows, columns].astype(float) ** 2
    view = (0.0, 0.0, counts.shape[1] - 1.0, counts.shape[0] - 1.0)

    def find_paired_center(start: tuple[float, float], radius: float) -> Center | None:
        reach = radius * max(counts.shape)
        return find_friedel_center(positions, height, guess=start, search_radius=reach, view=view)

    # A gradient over the frame has a symmetry of its own, which the spots do not share; discs that touch have several
    # nearly equal ones. Where the brightest place agrees with the symmetry of the frame, both are the direct beam, and
    # its spots need less support than elsewhere.
    brightest = _find_brightest(root)
    guesses = (guess, find_symmetry_center(np.maximum(contrast, 0)), brightest)
    near = [center for each in guesses if (center := find_paired_center(each, 0.03)) and center.pairs >= 3]
    near = [center for center in near if center.paired_fraction > _MIN_PAIRED_FRACTION]
    best = max(near, key=_compute_support, default=None)
    if best is not None:
        agree = np.hypot(brightest[0] - guess[0], brightest[1] - guess[1]) < 0.02 * max(counts.shape)
        is_comparable = _compute_support(near[0]) > _COMPARABLE_SUPPORT * _compute_support(best)
        chosen = near[0] if agree and is_comparable else best
        return chosen.x, chosen.y
    # Without diffuse scattering about the center, the symmetry of the frame can be that of a few spots.
    middle = (counts.shape[1] - 1) / 2, (counts.shape[0] - 1) / 2
    far = find_paired_center(middle, 0.15)
    if far and far.pairs >= 5 and far.paired_fraction > _MIN_PAIRED_FRACTION_FAR:
        return far.x, far.y
    return guess


def find_symmetry_center(image: FloatImage) -> tuple[float, float]:
    """Find the point about which the frame, rotated by 180 degrees, agrees best with itself.

    The autoconvolution A(2c) = sum_x g(x) g(2c - x) of the block-averaged image g above its median has its maximum at
    the center of inversion, wherever the brightest pixel is. It is good to about a block, a side of the frame / 160.

    Args:
        image: (H, W).

    Returns:
        x, y.
    """
    block = max(1, max(image.shape) // _COARSE_SIDE)
    height, width = (side // block for side in image.shape)
    coarse = image[: height * block, : width * block].reshape(height, block, width, block).mean(axis=(1, 3))
    # A beam stop is darker than most of the frame; clipped, it contributes no symmetry of its own.
    coarse = np.maximum(coarse - np.median(coarse), 0)
    shape = [scipy.fft.next_fast_len(2 * side, real=True) for side in coarse.shape]
    transform = scipy.fft.rfft2(coarse, shape)
    agreement = scipy.fft.irfft2(transform * transform, shape)
    # The center lies in the middle half of the frame; farther out the overlap is too small.
    rows = slice(height // 2, 2 * height - height // 2)
    columns = slice(width // 2, 2 * width - width // 2)
    y, x = np.unravel_index(int(np.argmax(agreement[rows, columns])), agreement[rows, columns].shape)
    center = (np.array([x + columns.start, y + rows.start]) / 2 + 0.5) * block - 0.5
    return float(center[0]), float(center[1])


def _find_brightest(image: FloatImage) -> tuple[float, float]:
    """Return the center of the brightest six by six pixels."""
    halved = BinnedImage.from_counts(image, max(image.shape) // 2)
    coarse = ndi.uniform_filter(halved.counts, 3)
    y, x = np.unravel_index(int(np.argmax(coarse)), coarse.shape)
    return halved.to_pixel((float(x), float(y)))


def _compute_support(center: Center) -> float:
    return center.pairs * center.paired_fraction
