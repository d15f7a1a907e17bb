"""Whether a frame shows large bright patches in place of spots: discs of a convergent beam that overlap."""

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.signal.binning import Binned

FloatImage = NDArray[np.float32]

_SIDE = 128
_LARGEST_SPOT = 0.012
_FALLS_OFF = 2.0


def require_no_overlapping_discs(binned: Binned, center: tuple[float, float]) -> None:
    """Refuse patches whose size is that of overlapping discs, not of spots.

    Args:
        binned: the frame.
        center: x, y of its own symmetry, in blocks.

    Raises:
        NoSpotsError: there are such patches.
    """
    coarse = Binned.to_side(binned.counts, _SIDE)
    level = _level(coarse.counts)
    x, y = coarse.binned_point(center)
    rows, columns = np.indices(level.shape)
    radius = np.rint(np.hypot(columns - x, rows - y)).astype(np.intp)
    if _patch(level, radius) < _LARGEST_SPOT * max(level.shape):
        return
    # Scattering falls off with the angle; an image of real space is as bright at its edge.
    near = radius < max(level.shape) / 6
    inside, outside = (float(coarse.counts[each].mean() - coarse.counts.min()) for each in (near, ~near))
    if inside > _FALLS_OFF * outside:
        raise NoSpotsError(
            "the frame shows overlapping discs of a convergent beam and no spots: make the beam parallel, or take a "
            "smaller condenser aperture, until the discs no longer touch"
        )
    raise NoSpotsError(
        "the frame shows patches and no spots, as an image of real space does; upload a diffraction pattern"
    )


def _level(counts: FloatImage) -> FloatImage:
    """Logarithm of the counts over their ground, so that weak discs count beside strong ones."""
    dark, middle = np.quantile(counts, [0.02, 0.5])
    level: FloatImage = np.log1p(np.maximum(counts - dark, 0) / max(float(middle - dark), 1e-9))
    return level


def _patch(level: FloatImage, radius: NDArray[np.intp]) -> float:
    """Pixels to which the mean autocorrelation of what is not round falls to a half."""
    mean = np.bincount(radius.ravel(), level.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    rest = level - mean[radius].astype(np.float32)
    rest -= ndi.uniform_filter(rest, max(level.shape) // 6)
    shape = [scipy.fft.next_fast_len(2 * side, real=True) for side in rest.shape]
    agreement = scipy.fft.irfft2(np.abs(scipy.fft.rfft2(rest, shape)) ** 2, shape)
    shift = [np.minimum(np.arange(side), side - np.arange(side)) for side in shape]
    away = np.rint(np.hypot(shift[0][:, None], shift[1])).astype(np.intp).ravel()
    profile = np.bincount(away, agreement.ravel()) / np.bincount(away)
    below = np.flatnonzero(profile < profile[0] / 2)
    if not len(below) or profile[0] <= 0:
        return 0.0
    last = int(below[0])
    return last - 1 + float((profile[last - 1] - profile[0] / 2) / (profile[last - 1] - profile[last]))
