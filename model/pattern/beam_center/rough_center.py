"""A first guess of the centre, from all of a frame at once."""

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.pattern.beam_center.friedel_center import Center, find_friedel_center
from model.pattern.signal.binning import Binned
from model.pattern.signal.peaks import local_maxima

FloatImage = NDArray[np.float32]

_COARSE_SIDE = 160
_SIGMA = 1.3
_VOTERS = 160
_POORLY_PAIRED, _WELL_PAIRED = 0.25, 0.6
_NEARLY_AS_GOOD = 0.38


def find_symmetry_center(image: FloatImage) -> tuple[float, float]:
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


def estimate_center(small: FloatImage) -> tuple[float, float]:
    """The x, y of the centre from the frame's own symmetry, sharpened by its strong spots' Friedel pairs.

    Good to a few tenths of a pixel where there are pairs, whatever lies at the centre: a direct beam, saturated
    or not, or a beam stop.
    """
    sample = small.ravel()[::7]
    root = np.sqrt(np.maximum(small - np.partition(sample, len(sample) // 50)[len(sample) // 50], 0))
    guess = find_symmetry_center(np.log1p(root))
    contrast = ndi.gaussian_filter(root, _SIGMA, truncate=3) - ndi.uniform_filter(root, 11)
    spread = np.median(np.abs(contrast.ravel()[::7])) * 1.4826
    rows, columns = local_maxima(contrast, 6 * spread)
    strongest = np.argsort(-contrast[rows, columns])[:_VOTERS]
    rows, columns = rows[strongest], columns[strongest]
    positions = np.column_stack([columns, rows]).astype(float)
    strength = contrast[rows, columns].astype(float) ** 2
    view = (0.0, 0.0, small.shape[1] - 1.0, small.shape[0] - 1.0)

    def paired_about(start: tuple[float, float], radius: float) -> Center | None:
        reach = radius * max(small.shape)
        return find_friedel_center(positions, strength, guess=start, search_radius=reach, view=view)

    # Gradients over the frame have a symmetry of their own, which the spots alone do not share; discs without light
    # between them have several nearly as good. Where the brightest place agrees with the symmetry of the whole frame,
    # both are the direct beam and spots are not asked for more than to allow it; else the spots decide.
    brightest = _brightest(root)
    guesses = (guess, find_symmetry_center(np.maximum(contrast, 0)), brightest)
    near = [found for each in guesses if (found := paired_about(each, 0.03)) and found.pairs >= 3]
    near = [found for found in near if found.paired_fraction > _POORLY_PAIRED]
    best = max(near, key=_support, default=None)
    if best is not None:
        agreed = np.hypot(brightest[0] - guess[0], brightest[1] - guess[1]) < 0.02 * max(small.shape)
        first = near[0]
        chosen = first if agreed and _support(first) > _NEARLY_AS_GOOD * _support(best) else best
        return chosen.x, chosen.y
    # Without diffuse light about the centre the frame's symmetry may be that of some spots only.
    far = paired_about(_middle(small), 0.15)
    if far and far.pairs >= 5 and far.paired_fraction > _WELL_PAIRED:
        return far.x, far.y
    return guess


def _brightest(root: FloatImage) -> tuple[float, float]:
    """Middle of the brightest six by six pixels."""
    halved = Binned.to_side(root, max(root.shape) // 2)
    coarse = ndi.uniform_filter(halved.counts, 3)
    y, x = np.unravel_index(int(np.argmax(coarse)), coarse.shape)
    return halved.full_point((float(x), float(y)))


def _support(centre: Center) -> float:
    return centre.pairs * centre.paired_fraction


def _middle(image: FloatImage) -> tuple[float, float]:
    return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
