"""The significant peaks of a frame whose centre is roughly known."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.frame import Frame
from model.pattern.signal.background import Rings, local_level, shadow
from model.pattern.signal.binning import Binned
from model.pattern.signal.peaks import Peaks, draw_peaks, fit_peaks, local_maxima, spot_sigma, windows
from model.pattern.spots import MIN_SPOTS

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

MAXIMUM_SPOTS = 1500
DETECTION = 4.5
SIGNIFICANCE = 5.0
_FIRST_SIGMA = 1.3
_WIDTH_FROM = 20
_FEWEST_UNCLIPPED, _LOOKED_AT = 5, 200
_SMALLEST_RATIO = 1e-4
_CROWDED_SIGMAS, _MANY_CROWDED = 7.0, 0.05
_APART_SIGMAS = 2.0


def detect_peaks(frame: Frame, binned: Binned, center: tuple[float, float]) -> tuple[BoolImage, Peaks, float]:
    """Find what stands out from the background about a centre that is good to a few pixels.

    The threshold follows the noise of each ring about the centre. Peaks are detected in the binned frame by a
    filter matched to the spots' width, and measured in the frame itself.

    Args:
        frame: as recorded.
        binned: its block averages.
        center: x, y in blocks.

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
    columns, rows = _significant(residual, rings, usable, _FIRST_SIGMA, 2 * DETECTION)
    if len(rows) < MIN_SPOTS:
        columns, rows = _significant(residual, rings, usable, _FIRST_SIGMA, DETECTION)
    if not len(rows):
        raise NoSpotsError("no spots stand out from the background; is the frame blank or underexposed?")
    first = _strongest(frame, binned.full_pixels(columns, rows), round(2 * binned.factor))
    sigma = spot_sigma(frame.counts, first, _FIRST_SIGMA * binned.factor, frame.saturation_level)
    matched = float(np.clip(sigma / binned.factor, 0.8, 6))
    columns, rows = _significant(residual, rings, usable, matched, DETECTION)
    pixels = binned.full_pixels(columns[:MAXIMUM_SPOTS], rows[:MAXIMUM_SPOTS])
    whole = binned.full_mask(usable)
    found = _Found.at(frame, pixels, sigma, whole)
    if found.is_crowded():
        # A weak spot on the flank of a strong one makes no maximum until that one is taken off.
        residual -= Binned.to_side(found.drawn(), max(binned.shape) // binned.factor).counts
        columns, rows = _significant(residual, rings, usable, matched, DETECTION)
        found = found.joined_by(binned.full_pixels(columns, rows))
    return whole, found.settled(), sigma


def _strongest(frame: Frame, pixels: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Of maxima, the strongest first, those that tell the spots' width: saturated ones do not.

    Where fewer than three of the strongest twenty were not saturated the width was off by 22 %, and the heights that
    flanks tell by a factor of 1.3 for each e-fold above the camera's level.
    """
    first = pixels[:_WIDTH_FROM]
    if frame.saturation_level is None:
        return first
    level = frame.saturation_level

    def free(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(at[windows(frame.counts, at, half)[0].max(axis=1) < level])

    return first if len(free(first)) >= _FEWEST_UNCLIPPED else free(pixels[:_LOOKED_AT])[:_WIDTH_FROM]


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


@dataclass(frozen=True, eq=False)
class _Found:
    """Spots of a frame, fitted each by itself.

    Attributes:
        frame: as recorded.
        peaks: the significant ones.
        sigma: their deviation.
        usable: (H, W) pixels that no beam stop covers.
    """

    frame: Frame
    peaks: Peaks
    sigma: float
    usable: BoolImage

    @classmethod
    def at(cls, frame: Frame, pixels: NDArray[np.float64], sigma: float, usable: BoolImage) -> Self:
        peaks = fit_peaks(frame.counts, pixels, sigma, usable=usable, saturation=frame.saturation_level)
        return cls(frame, _distinct(peaks.take(_is_significant(peaks, frame.faintest)), sigma), sigma, usable)

    def is_crowded(self) -> bool:
        """Whether many lie so near to another one that others may be hidden."""
        if len(self.peaks) < 2 or self.frame.ripple:  # the ripples of JPEG lie on flanks too
            return False
        nearest = cKDTree(self.peaks.pixels).query(self.peaks.pixels, k=2)[0][:, 1]
        return bool((nearest < _CROWDED_SIGMAS * self.sigma).mean() > _MANY_CROWDED)

    def drawn(self) -> FloatImage:
        return draw_peaks(self.frame.shape, self.peaks, self.sigma)

    def joined_by(self, pixels: NDArray[np.float64]) -> Self:
        """With those of further places that are significant once these are taken off."""
        apart = cKDTree(self.peaks.pixels).query(pixels)[0] > _APART_SIGMAS * self.sigma
        pixels = pixels[apart][: max(MAXIMUM_SPOTS - len(self.peaks), 0)]
        if not len(pixels):
            return self
        more = self._fitted(Peaks.unknown(pixels), self.drawn(), move=True)
        joined = self.peaks.and_(more.take(_is_significant(more, self.frame.faintest)))
        return replace(self, peaks=_distinct(joined, self.sigma))

    def settled(self) -> Peaks:
        """Fitted once more, each free of its neighbours; those that are still significant."""
        peaks = self._fitted(self.peaks, self.drawn(), move=False)
        return peaks.take(_is_significant(peaks, self.frame.faintest))

    def _fitted(self, peaks: Peaks, picture: FloatImage, *, move: bool) -> Peaks:
        return fit_peaks(
            self.frame.counts,
            peaks.pixels,
            self.sigma,
            usable=self.usable,
            saturation=self.frame.saturation_level,
            drawn=(picture, peaks),
            move=move,
        )


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
