"""The significant peaks of a frame whose centre is roughly known."""

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.background import Rings, local_level, shadow
from model.pattern.binning import Binned
from model.pattern.frame import Frame
from model.pattern.peaks import Peaks, draw_peaks, fit_peaks, local_maxima, spot_sigma

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

MAXIMUM_SPOTS = 1500
DETECTION = 4.5
SIGNIFICANCE = 5.0
_FIRST_SIGMA = 1.3
_WIDTH_FROM = 20
_BESIDE_DIRECT_BEAM = 12.0
_SMALLEST_RATIO = 1e-4


def detect_peaks(
    frame: Frame, binned: Binned, center: tuple[float, float], bright: NDArray[np.float64]
) -> tuple[BoolImage, Peaks, float]:
    """Find what stands out from the background about a centre that is good to a few pixels.

    The threshold follows the noise of each ring about the centre. Peaks are detected in the binned frame by a
    filter matched to the spots' width, and measured in the frame itself.

    Args:
        frame: as recorded.
        binned: its block averages.
        center: x, y in blocks.
        bright: (N, 2) places that stand out at first sight, the strongest first, in blocks: the spots' width is theirs.

    Returns:
        (H, W) pixels that no beam stop covers, the peaks, and their common Gaussian deviation in pixels.

    Raises:
        NoSpotsError: nothing stands out.
    """
    rings = Rings.about(binned.counts.shape, center)
    level, noise = rings.level_and_noise(binned.counts)
    residual = binned.counts - level[rings.number]
    usable = ~shadow(residual, np.maximum(noise, 1e-30)[rings.number])
    residual -= local_level(residual, usable)
    away = bright[np.hypot(*(bright - center).T) > _BESIDE_DIRECT_BEAM][:_WIDTH_FROM]
    first = binned.full_pixels(*away.T)
    sigma = spot_sigma(frame.counts, first, _FIRST_SIGMA * binned.factor, frame.saturation_level)
    matched = float(np.clip(sigma / binned.factor, 0.8, 6))
    columns, rows = _significant(residual, rings, usable, matched, DETECTION)
    if not len(rows):
        raise NoSpotsError("no spots stand out from the background; is the frame blank or underexposed?")
    pixels = binned.full_pixels(columns[:MAXIMUM_SPOTS], rows[:MAXIMUM_SPOTS])
    whole = binned.full_mask(usable)
    return whole, _measured(frame, pixels, sigma, whole), sigma


def _significant(
    residual: FloatImage, rings: Rings, usable: BoolImage, sigma: float, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """x, y of the maxima of the matched filter above `threshold` times their ring's noise, the strongest first."""
    filtered = ndi.gaussian_filter(np.where(usable, residual, 0), sigma, truncate=3)
    level, noise = rings.level_and_noise(filtered, usable)
    rows, columns = local_maxima(filtered, (level + threshold * noise)[rings.number])
    free = usable[rows, columns]
    rows, columns = rows[free], columns[free]
    height = filtered[rows, columns]
    order = np.argsort(-height, kind="stable")
    # A simulated frame has no noise: there rounding and the fringes of transforms set the limit.
    typical = np.median(height[order[:10]]) if len(order) else 0.0
    order = order[height[order] > _SMALLEST_RATIO * typical]
    return columns[order], rows[order]


def _measured(frame: Frame, pixels: NDArray[np.float64], sigma: float, usable: BoolImage) -> Peaks:
    """Fit all spots twice, the second time free of their neighbours, and keep the significant ones."""
    peaks = fit_peaks(frame.counts, pixels, sigma, usable=usable, saturation=frame.saturation_level)
    peaks = _distinct(peaks.take(_is_significant(peaks, frame.faintest)), sigma)
    picture = draw_peaks(frame.shape, peaks, sigma)
    peaks = fit_peaks(
        frame.counts,
        peaks.pixels,
        sigma,
        usable=usable,
        saturation=frame.saturation_level,
        drawn=(picture, peaks),
        move=False,
    )
    return peaks.take(_is_significant(peaks, frame.faintest))


def _is_significant(peaks: Peaks, faintest: float) -> BoolImage:
    significant: BoolImage = peaks.amplitude > np.maximum(SIGNIFICANCE * peaks.amplitude_error, faintest)
    return significant


def _distinct(peaks: Peaks, sigma: float) -> Peaks:
    """Of peaks that came to lie within a deviation and a half, the strongest."""
    order = np.argsort(-peaks.amplitude)
    pixels = peaks.pixels[order]
    pairs = cKDTree(pixels).query_pairs(1.5 * sigma, output_type="ndarray")
    distinct = np.ones(len(order), dtype=bool)
    distinct[pairs.max(axis=1, initial=-1)] = False
    return peaks.take(np.sort(order[distinct]))
