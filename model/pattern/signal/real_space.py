"""Whether bright places are those of an image of real space, such as columns of atoms, and no spots."""

import numpy as np
from scipy.spatial import cKDTree

from model.pattern.signal.peaks import Peaks

_EVEN_COUNT = 30
_EVEN_SPREAD = 0.5
_REPEATED_COUNT, _JUDGED, _NEIGHBOURS = 20, 120, 12
_SAME_STEP, _COMMON_STEP, _ALIKE = 0.12, 0.3, 0.18


def are_alike(peaks: Peaks) -> bool:
    """Whether bright places are all alike, or alike a lattice vector on, as in an image of real space."""
    spread = np.subtract(*np.quantile(np.log(peaks.amplitude), [0.9, 0.1]))
    return bool(len(peaks) >= _EVEN_COUNT and spread < _EVEN_SPREAD) or repeats(peaks)


def repeats(peaks: Peaks) -> bool:
    """Whether bright places have the same height a lattice vector on, as columns of atoms have and no spots.

    Neighbouring spots of rendered patterns differ by a factor exp(0.3) or more at the median, places of images of a
    lattice by less than exp(0.14). Clipped spots tell nothing.
    """
    peaks = peaks.take(~peaks.clipped)
    if len(peaks) < _REPEATED_COUNT:
        return False
    middle = np.median(peaks.pixels, axis=0)
    judged = np.argsort(np.hypot(*(peaks.pixels - middle).T), kind="stable")[:_JUDGED]
    distance, partner = cKDTree(peaks.pixels).query(peaks.pixels[judged], k=_NEIGHBOURS + 1)
    own, other = np.repeat(judged, _NEIGHBOURS), partner[:, 1:].ravel()
    step = peaks.pixels[other] - peaks.pixels[own]
    unlike = np.abs(np.log(peaks.amplitude[other] / peaks.amplitude[own]))
    steps, within = cKDTree(step), _SAME_STEP * float(np.median(distance[:, 1]))
    votes = steps.query_ball_point(step, within, return_length=True)
    fresh = votes >= _COMMON_STEP * len(judged)
    while fresh.any():
        same = steps.query_ball_point(step[int(np.argmax(votes * fresh))], within)
        if np.median(unlike[same]) < _ALIKE:
            return True
        fresh[same] = False
    return False
