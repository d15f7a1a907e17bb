"""Grains of a powder, told from the spots of a crystal."""

import numpy as np

from model.errors import NoSpotsError
from model.pattern.centre import Centre
from model.pattern.peaks import Peaks

# Symmetry puts twelve spots of a crystal at one distance from the centre at most, two flakes twice as many; some
# distances coincide.
_MOST_AT_ONE_RADIUS = 30.0
_FEWEST_SPOTS = 90


def require_no_powder(peaks: Peaks, centre: Centre, sigma: float) -> None:
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
