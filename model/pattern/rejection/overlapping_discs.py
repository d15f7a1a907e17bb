"""Frames with large patches instead of spots: overlapping convergent-beam discs, or a real-space image."""

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.signal.preprocessing import BinnedImage

FloatImage = NDArray[np.float32]

_SIDE = 128
_MAX_SPOT_SHARE = 0.012
_MIN_FALL_OFF = 2.0


def require_no_overlapping_discs(binned: BinnedImage, center: tuple[float, float]) -> None:
    """Reject patches as large as overlapping discs.

    Args:
        binned: the binned frame.
        center: x, y of its symmetry, in blocks.

    Raises:
        NoSpotsError: The frame shows such patches.
    """
    coarse = BinnedImage.from_counts(binned.counts, _SIDE)
    level = _compute_log_level(coarse.counts)
    x, y = coarse.to_block(center)
    rows, columns = np.indices(level.shape)
    radius = np.rint(np.hypot(columns - x, rows - y)).astype(np.intp)
    if _measure_patch_size(level, radius) < _MAX_SPOT_SHARE * max(level.shape):
        return
    # Scattering falls off with the angle; a real-space image is as bright at its edge.
    near = radius < max(level.shape) / 6
    inside, outside = (float(coarse.counts[each].mean() - coarse.counts.min()) for each in (near, ~near))
    if inside > _MIN_FALL_OFF * outside:
        raise NoSpotsError(
            "The frame shows overlapping convergent-beam discs instead of spots; make the beam parallel, or use a "
            "smaller condenser aperture, until the discs no longer touch."
        )
    raise NoSpotsError(
        "The frame shows patches instead of spots, like a real-space image; upload a diffraction pattern."
    )


def _compute_log_level(counts: FloatImage) -> FloatImage:
    """Return the logarithm of the counts above the background, so that weak discs count as much as strong ones."""
    dark, middle = np.quantile(counts, [0.02, 0.5])
    level: FloatImage = np.log1p(np.maximum(counts - dark, 0) / max(float(middle - dark), 1e-9))
    return level


def _measure_patch_size(level: FloatImage, radius: NDArray[np.intp]) -> float:
    """Return the distance in pixels at which the mean autocorrelation of what is not round falls to a half.

    Args:
        level: (H, W).
        radius: (H, W) whole distances from the center.
    """
    mean = np.bincount(radius.ravel(), level.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    rest = level - mean[radius].astype(np.float32)
    rest -= ndi.uniform_filter(rest, max(level.shape) // 6)
    shape = [scipy.fft.next_fast_len(2 * side, real=True) for side in rest.shape]
    autocorrelation = scipy.fft.irfft2(np.abs(scipy.fft.rfft2(rest, shape)) ** 2, shape)
    shift = [np.minimum(np.arange(side), side - np.arange(side)) for side in shape]
    distance = np.rint(np.hypot(shift[0][:, None], shift[1])).astype(np.intp).ravel()
    profile = np.bincount(distance, autocorrelation.ravel()) / np.bincount(distance)
    below = np.flatnonzero(profile < profile[0] / 2)
    if not len(below) or profile[0] <= 0:
        return 0.0
    last = int(below[0])
    return last - 1 + float((profile[last - 1] - profile[0] / 2) / (profile[last - 1] - profile[last]))
