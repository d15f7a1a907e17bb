"""Detection of the significant peaks of a frame, and removal of those caused by noise and compression."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError, OptionError
from model.pattern.beam_center.spot_lattice import SpotLattice
from model.pattern.beam_center.symmetry_center import Center, weigh_spots
from model.pattern.frame import Frame
from model.pattern.signal.background import RadialBins, subtract_background
from model.pattern.signal.peaks import (
    DetectedPeaks,
    Peaks,
    cut_windows,
    estimate_spot_sigma,
    find_local_maxima,
    fit_peaks,
    render_peaks,
)
from model.pattern.signal.preprocessing import BinnedImage
from model.pattern.spots import MIN_SPOTS, Spots

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

MAX_PEAKS = 1500
DETECTION_THRESHOLD = 4.5
SIGNIFICANCE = 5.0
_FIRST_SIGMA = 1.3
_MAX_SPOTS_FOR_WIDTH = 20
_MIN_UNSATURATED, _MAX_EXAMINED = 5, 200
_MIN_HEIGHT_RATIO = 1e-4
_CROWDED_SIGMAS, _CROWDED_SHARE = 7.0, 0.05
_SEPARATION_SIGMAS = 2.0
_CHANCE_OF_MATE = 0.2
# How far from a given position a peak is searched, in its standard deviations.
_SEARCH_SIGMAS = 3


def detect_peaks(frame: Frame, binned: BinnedImage, center: tuple[float, float]) -> DetectedPeaks:
    """Detect what stands out from the background, given a center accurate to a few pixels.

    The threshold follows the noise of each ring about the center. Peaks are detected in the binned frame with a filter
    matched to the width of the spots, and measured in the frame itself.

    Args:
        frame: the prepared frame.
        binned: its block averages.
        center: x, y in blocks.

    Raises:
        NoSpotsError: Nothing stands out.
    """
    residual, usable, bins = subtract_background(binned.counts, center)
    columns, rows = _find_significant_maxima(residual, bins, usable, _FIRST_SIGMA, 2 * DETECTION_THRESHOLD)
    if len(rows) < MIN_SPOTS:
        columns, rows = _find_significant_maxima(residual, bins, usable, _FIRST_SIGMA, DETECTION_THRESHOLD)
    if not len(rows):
        raise NoSpotsError(
            "No spots stand out from the background; the frame is blank or underexposed. Expose longer."
        )
    first = _select_for_width(frame, binned.to_pixels(columns, rows), round(2 * binned.factor))
    sigma = estimate_spot_sigma(frame.counts, first, _FIRST_SIGMA * binned.factor, frame.saturation_level)
    matched_sigma = float(np.clip(sigma / binned.factor, 0.8, 6))
    columns, rows = _find_significant_maxima(residual, bins, usable, matched_sigma, DETECTION_THRESHOLD)
    pixels = binned.to_pixels(columns[:MAX_PEAKS], rows[:MAX_PEAKS])
    usable_pixels = binned.expand_mask(usable)
    fitted = _FittedPeaks.fit(frame, pixels, sigma, usable_pixels)
    if fitted.is_crowded():
        # A weak spot on the flank of a strong one is no maximum before the strong one is subtracted.
        residual -= BinnedImage.from_counts(fitted.render(), max(binned.shape) // binned.factor).counts
        columns, rows = _find_significant_maxima(residual, bins, usable, matched_sigma, DETECTION_THRESHOLD)
        fitted = fitted.add_positions(binned.to_pixels(columns, rows))
    return DetectedPeaks(usable_pixels, fitted.refit(), sigma, binned)


def _find_significant_maxima(
    residual: FloatImage, bins: RadialBins, usable: BoolImage, sigma: float, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return x, y of the maxima of a matched filter above `threshold` times the noise of their bin, strongest first."""
    filtered = ndi.gaussian_filter(np.where(usable, residual, 0), sigma, truncate=3)
    level, noise = bins.estimate_level_and_noise(filtered, usable)
    rows, columns = find_local_maxima(filtered, (level + threshold * noise)[bins.index])
    free = usable[rows, columns]
    rows, columns = rows[free], columns[free]
    height = filtered[rows, columns]
    order = np.argsort(-height, kind="stable")
    # A simulated frame has no noise; rounding and ripples of Fourier transforms set its limit.
    typical = np.median(height[order[:10]]) if len(order) else 0.0
    order = order[height[order] > _MIN_HEIGHT_RATIO * typical]
    return columns[order], rows[order]


def _select_for_width(frame: Frame, pixels: FloatArray, half: int) -> FloatArray:
    """Return the strongest maxima that show the width of the spots, which saturated ones do not.

    Where fewer than three of the strongest twenty were not saturated, the width was wrong by 22 %, and the estimated
    heights of saturated spots by a factor of 1.3 for each unit of ln I above the saturation level.

    Args:
        frame: the prepared frame.
        pixels: (N, 2) maxima, strongest first.
        half: half width of the window that is searched for saturated pixels.
    """
    first = pixels[:_MAX_SPOTS_FOR_WIDTH]
    level = frame.saturation_level
    if level is None:
        return first

    def select_unsaturated(at: FloatArray) -> FloatArray:
        return np.asarray(at[cut_windows(frame.counts, at, half)[0].max(axis=1) < level])

    if len(select_unsaturated(first)) >= _MIN_UNSATURATED:
        return first
    return select_unsaturated(pixels[:_MAX_EXAMINED])[:_MAX_SPOTS_FOR_WIDTH]


@dataclass(frozen=True, eq=False)
class _FittedPeaks:
    """Peaks of a frame, each fitted by itself.

    Attributes:
        frame: the prepared frame.
        peaks: the significant peaks.
        sigma: their standard deviation.
        usable: (H, W) pixels that no beam stop covers.
    """

    frame: Frame
    peaks: Peaks
    sigma: float
    usable: BoolImage

    @classmethod
    def fit(cls, frame: Frame, pixels: FloatArray, sigma: float, usable: BoolImage) -> Self:
        peaks = fit_peaks(frame.counts, pixels, sigma, usable=usable, saturation_level=frame.saturation_level)
        significant = peaks.take(_are_significant(peaks, frame.min_spot_height))
        return cls(frame, _drop_coincident(significant, sigma), sigma, usable)

    def is_crowded(self) -> bool:
        """Return whether many peaks are so close to another one that further peaks may be hidden."""
        if len(self.peaks) < 2 or self.frame.ripple_height:  # ripples of JPEG lie on flanks too
            return False
        nearest = cKDTree(self.peaks.pixels).query(self.peaks.pixels, k=2)[0][:, 1]
        return bool((nearest < _CROWDED_SIGMAS * self.sigma).mean() > _CROWDED_SHARE)

    def render(self) -> FloatImage:
        return render_peaks(self.frame.counts.shape, self.peaks, self.sigma)

    def add_positions(self, pixels: FloatArray) -> Self:
        """Add further positions (N, 2) at which a peak is significant after these peaks are subtracted."""
        is_apart = cKDTree(self.peaks.pixels).query(pixels)[0] > _SEPARATION_SIGMAS * self.sigma
        pixels = pixels[is_apart][: max(MAX_PEAKS - len(self.peaks), 0)]
        if not len(pixels):
            return self
        more = self._fit_without_neighbors(Peaks.at_positions(pixels), move=True)
        joined = self.peaks.join(more.take(_are_significant(more, self.frame.min_spot_height)))
        return replace(self, peaks=_drop_coincident(joined, self.sigma))

    def refit(self) -> Peaks:
        """Fit each peak once more without its neighbors, and return those that are still significant."""
        peaks = self._fit_without_neighbors(self.peaks, move=False)
        return peaks.take(_are_significant(peaks, self.frame.min_spot_height))

    def _fit_without_neighbors(self, peaks: Peaks, *, move: bool) -> Peaks:
        return fit_peaks(
            self.frame.counts,
            peaks.pixels,
            self.sigma,
            usable=self.usable,
            saturation_level=self.frame.saturation_level,
            rendered=(self.render(), peaks),
            move=move,
        )


def _are_significant(peaks: Peaks, min_height: float) -> BoolImage:
    significant: BoolImage = peaks.amplitude > np.maximum(SIGNIFICANCE * peaks.amplitude_error, min_height)
    return significant


def _drop_coincident(peaks: Peaks, sigma: float) -> Peaks:
    """Keep the strongest of peaks that moved to within one and a half standard deviations of each other."""
    order = np.argsort(-peaks.amplitude)
    pixels = peaks.pixels[order]
    pairs = cKDTree(pixels).query_pairs(1.5 * sigma, output_type="ndarray")
    is_distinct = np.ones(len(order), dtype=bool)
    is_distinct[pairs.max(axis=1, initial=-1)] = False
    return peaks.take(np.sort(order[is_distinct]))


def remove_noise(peaks: Peaks, center: Center, sigma: float, usable: BoolImage) -> Peaks:
    """Remove the peaks below the height at which Friedel mates are no more frequent than chance.

    Hot pixels and rare large counts of the noise pass any threshold, but have no mates.

    Args:
        peaks: the peaks without the direct beam.
        center: center of symmetry.
        sigma: standard deviation of the peaks, in pixels.
        usable: (H, W) pixels that no beam stop covers.
    """
    order = np.argsort(-peaks.amplitude, kind="stable")
    pixels = peaks.pixels[order]
    mirrored = 2 * np.array([center.x, center.y]) - pixels
    distance = cKDTree(pixels).query(mirrored)[0]
    last = np.array(usable.shape[::-1]) - 1
    columns, rows = np.clip(np.round(mirrored), 0, last).astype(np.intp).T
    is_visible = ((mirrored >= 0) & (mirrored <= last)).all(axis=1) & usable[rows, columns]
    evidence = np.where(distance < 1.5 * sigma + 1, 1 - _CHANCE_OF_MATE, -_CHANCE_OF_MATE) * is_visible
    best = len(evidence) - 1 - int(np.argmax(np.cumsum(evidence)[::-1]))
    return peaks.take(np.sort(order[: best + 1]))


def remove_ripples(peaks: Peaks, center: Center, sigma: float, height: float) -> Peaks:
    """Remove peaks lower than `height` unless they have a Friedel mate or lie on the lattice of the higher ones.

    A low mate has to be closer than a high one. In JPEG frames this keeps 92.3 % of the spots five sigma above the
    noise, and 99.0 % of what is kept is true; a threshold of 1.6 levels gives 91.6 and 97.5 %.

    Args:
        peaks: the peaks without the direct beam.
        center: center of symmetry.
        sigma: standard deviation of the peaks, in pixels.
        height: up to which compression makes ripples.
    """
    is_kept, middle = peaks.amplitude > height, np.array([center.x, center.y])
    strong, mirrored = peaks.take(is_kept), 2 * middle - peaks.pixels
    is_kept = is_kept | (cKDTree(peaks.pixels).query(mirrored)[0] < 0.7 * sigma + 0.3)
    if len(strong):
        is_kept |= cKDTree(strong.pixels).query(mirrored)[0] < 1.5 * sigma + 1
        weight = weigh_spots(len(strong), strong.amplitude)
        lattice = SpotLattice.fit(strong.pixels, weight, middle)
        if lattice is not None:
            is_kept |= lattice.compute_distances(peaks.pixels) < sigma + 1
    return peaks.take(is_kept)


def measure_peaks_at(frame: Frame, spots: Spots, pixels: FloatArray) -> Peaks:
    """Fit a Gaussian of the spots' width at each of some positions, starting from the brightest pixel near it.

    Args:
        frame: as read from its file.
        spots: the spots found in it.
        pixels: (N, 2) x, y; OptionError if one lies outside the frame.
    """
    assert spots.exposure is not None
    height, width = frame.shape
    inside = ((pixels >= 0) & (pixels <= [width - 1, height - 1])).all(axis=1)
    if not inside.all():
        raise OptionError(
            f"The position {pixels[~inside][0].tolist()} of measure lies outside the frame of {width} x {height} "
            "pixels; give x, y in pixels."
        )
    sigma = spots.exposure.spot_sigma_px
    half = max(round(_SEARCH_SIGMAS * sigma / 2), 1)
    brightest = np.array([_find_brightest_pixel(frame, x, y, half) for x, y in pixels.tolist()])
    return fit_peaks(frame.counts, brightest.reshape(-1, 2), sigma, saturation_level=frame.saturation_level)


def _find_brightest_pixel(frame: Frame, x: float, y: float, half: int) -> tuple[float, float]:
    """Return x, y of the brightest pixel within a half width of a position."""
    column, row = max(round(x) - half, 0), max(round(y) - half, 0)
    window = frame.counts[row : round(y) + half + 1, column : round(x) + half + 1]
    down, across = np.unravel_index(window.argmax(), window.shape)
    return float(column + across), float(row + down)
