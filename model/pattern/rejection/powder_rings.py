"""Powder patterns: grains on rings, and smooth rings, as opposed to the spots of a crystal."""

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.beam_center.friedel_center import Center
from model.pattern.signal.background import RadialBins
from model.pattern.signal.film_rings import FilmRings
from model.pattern.signal.peaks import Peaks
from model.pattern.signal.preprocessing import BinnedImage

# By symmetry a crystal has at most twelve spots at one distance from the center, two flakes twice as many, and some
# distances coincide.
_MAX_SPOTS_PER_RADIUS = 30.0
_MIN_POWDER_SPOTS = 90
# A peak that is part of a smooth ring is not much higher than the ring.
_MIN_RING_TO_PEAK, _MIN_SHARE_ON_RINGS = 0.5, 0.6
_BESIDE_SIGMAS = 6.0
_MIN_RINGS = 2
# Few maxima of the noise on a ring pass as peaks, so a frame with more of them has spots.
_MAX_PEAKS_ON_SMOOTH_RINGS = 40
_ONLY_RINGS = (
    "The frame shows rings of a powder or of a support film, and no spots of a crystal; such a frame can calibrate the "
    "camera (dd2d calibrate)."
)


def require_no_powder(peaks: Peaks, center: Center, sigma: float) -> None:
    """Refuse spots that lie on few rings.

    Args:
        peaks: the spots, in pixels of the frame.
        center: center of the frame.
        sigma: standard deviation of a spot, in pixels.

    Raises:
        NoSpotsError: The spots are grains of a powder.
    """
    if len(peaks) < _MIN_POWDER_SPOTS:
        return
    distance = np.sort(np.hypot(*(peaks.pixels - (center.x, center.y)).T))
    groups = 1 + int((np.diff(distance) > np.maximum(0.6 * sigma, 0.002 * distance[1:])).sum())
    if len(peaks) / groups > _MAX_SPOTS_PER_RADIUS:
        raise NoSpotsError(
            f"{len(peaks)} spots lie on {groups} rings, so they are grains of a powder; look for a single crystal, or "
            "calibrate the camera with the rings (dd2d calibrate)."
        )


def require_no_smooth_rings(peaks: Peaks, center: Center, sigma: float, binned: BinnedImage) -> None:
    """Refuse peaks that are maxima of the noise on smooth rings.

    Args:
        peaks: the peaks, in pixels of the frame.
        center: center of the frame.
        sigma: standard deviation of a spot, in pixels.
        binned: the binned frame.

    Raises:
        NoSpotsError: The frame shows rings and hardly any spots.
    """
    if not 0 < len(peaks) <= _MAX_PEAKS_ON_SMOOTH_RINGS:
        return
    middle = binned.to_block((center.x, center.y))
    bins = RadialBins.from_center(binned.counts.shape, middle)
    level, _ = bins.estimate_level_and_noise(binned.counts)
    offset = (peaks.pixels - (center.x, center.y)) / binned.factor
    distance = np.maximum(np.hypot(*offset.T), 1e-6)
    beside = max(_BESIDE_SIGMAS * sigma / binned.factor, 4.0)

    def level_at(radius: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the level of the bins at a radius in the direction of each peak."""
        place = np.rint(middle + offset * (np.maximum(radius, 1.0) / distance)[:, None]).astype(np.intp)
        columns, rows = np.clip(place, 0, np.array(binned.counts.shape[::-1]) - 1).T
        return np.asarray(level[bins.index[rows, columns]], dtype=np.float64)

    ring = level_at(distance) - (level_at(distance - beside) + level_at(distance + beside)) / 2
    if (ring > _MIN_RING_TO_PEAK * peaks.amplitude).mean() >= _MIN_SHARE_ON_RINGS:
        raise NoSpotsError(_ONLY_RINGS)


def require_no_bare_rings(rings: FilmRings) -> None:
    """Refuse at least two rings in a frame without a symmetric pattern of spots.

    Raises:
        NoSpotsError: There are such rings.
    """
    if rings.count_whole_rings() >= _MIN_RINGS:
        raise NoSpotsError(_ONLY_RINGS)
