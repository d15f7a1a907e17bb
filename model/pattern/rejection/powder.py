"""Grains and rings of a powder, told from the spots of a crystal."""

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.beam_center.friedel_center import Center
from model.pattern.signal.background import Rings
from model.pattern.signal.binning import Binned
from model.pattern.signal.film_rings import FilmRings
from model.pattern.signal.peaks import Peaks

# Symmetry puts twelve spots of a crystal at one distance from the centre at most, two flakes twice as many; some
# distances coincide.
_MOST_AT_ONE_RADIUS = 30.0
_FEWEST_SPOTS = 90
# A spot that is a piece of a smooth ring is not much higher than the ring all around.
_RING_BY_SPOT, _ON_RINGS = 0.5, 0.6
_BESIDE_SIGMAS = 6.0
_FEWEST_RINGS = 2
_ONLY_RINGS = (
    "the frame shows rings, those of a powder or of a support film, and no spots of a crystal; such a frame can "
    "calibrate the camera (dd2d calibrate)"
)
# Little of the noise of a ring passes for a spot, so a frame with more of them has spots.
_MOST_ON_SMOOTH_RINGS = 40


def require_no_powder(peaks: Peaks, centre: Center, sigma: float) -> None:
    """Refuse spots that lie on few rings.

    Args:
        peaks: what was found.
        centre: of the frame.
        sigma: of a spot, pixels.

    Raises:
        NoSpotsError: they are the grains of a powder.
    """
    if len(peaks) < _FEWEST_SPOTS:
        return
    distance = np.sort(np.hypot(*(peaks.pixels - (centre.x, centre.y)).T))
    groups = 1 + int((np.diff(distance) > np.maximum(0.6 * sigma, 0.002 * distance[1:])).sum())
    if len(peaks) / groups > _MOST_AT_ONE_RADIUS:
        raise NoSpotsError(
            f"{len(peaks)} spots lie on {groups} rings: they are grains of a powder; look for a single crystal, or "
            "calibrate the camera with it (dd2d calibrate)"
        )


def require_no_rings(peaks: Peaks, centre: Center, sigma: float, binned: Binned) -> None:
    """Refuse maxima of the noise on smooth rings.

    Args:
        peaks: what was found, in pixels of the frame.
        centre: of the frame.
        sigma: of a spot, pixels.
        binned: the frame.

    Raises:
        NoSpotsError: there are rings and hardly any spots beside them.
    """
    if not 0 < len(peaks) <= _MOST_ON_SMOOTH_RINGS:
        return
    middle = binned.binned_point((centre.x, centre.y))
    rings = Rings.about(binned.counts.shape, middle)
    level, _ = rings.level_and_noise(binned.counts)
    offset = (peaks.pixels - (centre.x, centre.y)) / binned.factor
    distance = np.maximum(np.hypot(*offset.T), 1e-6)
    beside = max(_BESIDE_SIGMAS * sigma / binned.factor, 4.0)

    def level_at(radius: NDArray[np.float64]) -> NDArray[np.float64]:
        place = np.rint(middle + offset * (np.maximum(radius, 1.0) / distance)[:, None]).astype(np.intp)
        columns, rows = np.clip(place, 0, np.array(binned.counts.shape[::-1]) - 1).T
        return np.asarray(level[rings.number[rows, columns]], dtype=np.float64)

    ring = level_at(distance) - (level_at(distance - beside) + level_at(distance + beside)) / 2
    if (ring > _RING_BY_SPOT * peaks.amplitude).mean() >= _ON_RINGS:
        raise NoSpotsError(_ONLY_RINGS)


def require_no_bare_rings(rings: FilmRings) -> None:
    """Refuse rings, two at least, beside which there is no symmetric pattern of spots.

    Raises:
        NoSpotsError: there are rings.
    """
    if rings.count() >= _FEWEST_RINGS:
        raise NoSpotsError(_ONLY_RINGS)
