"""Rejection of frames that are not spot patterns: no symmetry, real-space images, powder grains and powder rings."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.beam_center.symmetry_center import Center
from model.pattern.signal.background import RadialBins
from model.pattern.signal.film_rings import FilmRings
from model.pattern.signal.peaks import Peaks
from model.pattern.signal.preprocessing import BinnedImage
from model.pattern.spots import MIN_SPOTS

_NO_SYMMETRY = (
    "The spots have no center of symmetry, so the frame does not look like a diffraction pattern; if it is one whose "
    "center is far from the middle, give center as x, y."
)
_MIN_PAIRED_FRACTION = 0.15
_MANY_SPOTS, _MIN_PAIRED_FRACTION_OF_MANY = 12, 0.45

_MIN_EQUAL_PEAKS = 30
_EQUAL_SPREAD = 0.5
_MIN_REPEATED_PEAKS, _JUDGED_PEAKS, _NEIGHBORS = 20, 120, 12
_STEP_TOLERANCE, _COMMON_STEP_SHARE, _EQUAL_NEIGHBORS = 0.12, 0.3, 0.18

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
    "The frame shows the rings of a powder or a support film but no spots of a crystal; such a frame can calibrate the "
    "camera (dd2d calibrate)."
)


def require_spot_pattern(peaks: Peaks, center: Center, sigma: float, binned: BinnedImage) -> None:
    """Reject peaks that are not the spots of a crystal.

    Args:
        peaks: the peaks without the direct beam, in pixels of the frame.
        center: center of the frame.
        sigma: standard deviation of a peak, in pixels.
        binned: the binned frame.

    Raises:
        NoSpotsError: There are too few peaks, they have no center of symmetry, or they are those of a real-space image
            or of a powder.
    """
    _require_diffraction(peaks, center)
    _require_no_grains(peaks, center, sigma)
    _require_no_smooth_rings(peaks, center, sigma, binned)


def require_symmetry(center: Center, count: int) -> None:
    """Reject patterns of many spots if too few are paired after noise has been removed.

    In rendered patterns at least three quarters are paired, in real-space images of a lattice that get this far two
    fifths.

    Args:
        center: center with its final support.
        count: number of spots.

    Raises:
        NoSpotsError: Too few spots are paired.
    """
    if count >= _MANY_SPOTS and center.paired_fraction < _MIN_PAIRED_FRACTION_OF_MANY:
        raise NoSpotsError(_NO_SYMMETRY)


def require_no_bare_rings(binned: BinnedImage, center: tuple[float, float]) -> None:
    """Reject at least two rings in a frame without a symmetric pattern of spots.

    Args:
        binned: the binned frame.
        center: x, y of its symmetry, in blocks.

    Raises:
        NoSpotsError: There are such rings.
    """
    if FilmRings.find(binned.counts, center).count_whole_rings() >= _MIN_RINGS:
        raise NoSpotsError(_ONLY_RINGS)


def has_symmetry(center: Center) -> bool:
    """Return whether enough peaks have a Friedel mate."""
    return center.pairs >= MIN_SPOTS and center.paired_fraction >= _MIN_PAIRED_FRACTION


def are_equal_or_repeated(peaks: Peaks) -> bool:
    """Return whether all heights are equal, or equal to those a lattice vector away, as in a real-space image."""
    spread = np.subtract(*np.quantile(np.log(peaks.amplitude), [0.9, 0.1]))
    return bool(len(peaks.pixels) >= _MIN_EQUAL_PEAKS and spread < _EQUAL_SPREAD) or _are_repeated(peaks)


def _are_repeated(peaks: Peaks) -> bool:
    """Return whether heights are equal to those a lattice vector away, as of atomic columns and not of spots.

    The heights of neighboring spots in rendered patterns differ by a factor of exp(0.3) or more in the median, those of
    maxima in images of a lattice by less than exp(0.14). Saturated peaks are ignored.
    """
    peaks = peaks.take(~peaks.saturated)
    if len(peaks.pixels) < _MIN_REPEATED_PEAKS:
        return False
    middle = np.median(peaks.pixels, axis=0)
    judged = np.argsort(np.hypot(*(peaks.pixels - middle).T), kind="stable")[:_JUDGED_PEAKS]
    distance, neighbor = cKDTree(peaks.pixels).query(peaks.pixels[judged], k=_NEIGHBORS + 1)
    own, other = np.repeat(judged, _NEIGHBORS), neighbor[:, 1:].ravel()
    step = peaks.pixels[other] - peaks.pixels[own]
    difference = np.abs(np.log(peaks.amplitude[other] / peaks.amplitude[own]))
    steps, tolerance = cKDTree(step), _STEP_TOLERANCE * float(np.median(distance[:, 1]))
    votes = steps.query_ball_point(step, tolerance, return_length=True)
    is_open = votes >= _COMMON_STEP_SHARE * len(judged)
    while is_open.any():
        same = steps.query_ball_point(step[int(np.argmax(votes * is_open))], tolerance)
        if np.median(difference[same]) < _EQUAL_NEIGHBORS:
            return True
        is_open[same] = False
    return False


def _require_diffraction(peaks: Peaks, center: Center) -> None:
    """Reject peaks without the symmetry, or the range of heights, of diffraction.

    Raises:
        NoSpotsError: There are too few spots, they have no center of symmetry, or they are those of a real-space image.
    """
    count = len(peaks.pixels)
    if count < MIN_SPOTS:
        raise NoSpotsError(
            f"Only {count} peaks stand out from the background; at least {MIN_SPOTS} are needed. Expose longer."
        )
    if not has_symmetry(center):
        raise NoSpotsError(_NO_SYMMETRY)
    if are_equal_or_repeated(peaks):
        raise NoSpotsError(
            "The frame looks like a real-space image: its maxima, all of them or those related by lattice "
            "translations, have equal heights. Upload a diffraction pattern."
        )


def _require_no_grains(peaks: Peaks, center: Center, sigma: float) -> None:
    """Reject spots that lie on few rings.

    Args:
        peaks: the spots, in pixels of the frame.
        center: center of the frame.
        sigma: standard deviation of a spot, in pixels.

    Raises:
        NoSpotsError: The spots are grains of a powder.
    """
    count = len(peaks.pixels)
    if count < _MIN_POWDER_SPOTS:
        return
    distance = np.sort(np.hypot(*(peaks.pixels - (center.x, center.y)).T))
    groups = 1 + int((np.diff(distance) > np.maximum(0.6 * sigma, 0.002 * distance[1:])).sum())
    if count / groups > _MAX_SPOTS_PER_RADIUS:
        raise NoSpotsError(
            f"{count} spots lie on {groups} rings, so they come from the grains of a powder; look "
            "for a single crystal, or "
            "calibrate the camera with the rings (dd2d calibrate)."
        )


def _require_no_smooth_rings(peaks: Peaks, center: Center, sigma: float, binned: BinnedImage) -> None:
    """Reject peaks that are maxima of the noise on smooth rings.

    Args:
        peaks: the peaks, in pixels of the frame.
        center: center of the frame.
        sigma: standard deviation of a spot, in pixels.
        binned: the binned frame.

    Raises:
        NoSpotsError: The frame shows rings and hardly any spots.
    """
    if not 0 < len(peaks.pixels) <= _MAX_PEAKS_ON_SMOOTH_RINGS:
        return
    middle = binned.to_block((center.x, center.y))
    bins = RadialBins.from_center(binned.counts.shape, middle)
    level, _ = bins.estimate_level_and_noise(binned.counts)
    offset = (peaks.pixels - (center.x, center.y)) / binned.factor
    distance = np.maximum(np.hypot(*offset.T), 1e-6)
    beside = max(_BESIDE_SIGMAS * sigma / binned.factor, 4.0)

    def find_level(radius: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the level of the bins at a radius in the direction of each peak."""
        place = np.rint(middle + offset * (np.maximum(radius, 1.0) / distance)[:, None]).astype(np.intp)
        columns, rows = np.clip(place, 0, np.array(binned.counts.shape[::-1]) - 1).T
        return np.asarray(level[bins.index[rows, columns]], dtype=np.float64)

    ring = find_level(distance) - (find_level(distance - beside) + find_level(distance + beside)) / 2
    if (ring > _MIN_RING_TO_PEAK * peaks.amplitude).mean() >= _MIN_SHARE_ON_RINGS:
        raise NoSpotsError(_ONLY_RINGS)
