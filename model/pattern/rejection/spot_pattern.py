"""Evidence that detected peaks form a diffraction pattern: inversion symmetry and a range of heights."""

import numpy as np
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.beam_center.friedel_center import Center
from model.pattern.signal.peaks import Peaks
from model.pattern.spots import MIN_SPOTS

_NO_SYMMETRY = (
    "The spots of the image have no center of symmetry, so it does not look like a diffraction pattern; if it is one "
    "whose center is far from the middle, give center as x, y."
)
_MIN_PAIRED_FRACTION = 0.15
_MANY_SPOTS, _MIN_PAIRED_FRACTION_OF_MANY = 12, 0.45

_MIN_EQUAL_PEAKS = 30
_EQUAL_SPREAD = 0.5
_MIN_REPEATED_PEAKS, _JUDGED_PEAKS, _NEIGHBORS = 20, 120, 12
_STEP_TOLERANCE, _COMMON_STEP_SHARE, _EQUAL_NEIGHBORS = 0.12, 0.3, 0.18


def require_diffraction(peaks: Peaks, center: Center) -> None:
    """Refuse peaks without the symmetry, or the range of heights, of diffraction.

    Raises:
        NoSpotsError: There are too few spots, they have no center of symmetry, or they are those of a real-space image.
    """
    if len(peaks) < MIN_SPOTS:
        raise NoSpotsError(
            f"Only {len(peaks)} spots stand out from the background; at least {MIN_SPOTS} are needed. Expose longer."
        )
    if not has_symmetry(center):
        raise NoSpotsError(_NO_SYMMETRY)
    if are_equal_or_repeated(peaks):
        raise NoSpotsError(
            "The image is one of real space: its maxima are equal, or equal to those a lattice vector away. Upload a "
            "diffraction pattern."
        )


def require_symmetry(center: Center, count: int) -> None:
    """Refuse many spots of which too few are paired after noise has been removed.

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


def has_symmetry(center: Center) -> bool:
    """Return whether enough peaks have a Friedel mate."""
    return center.pairs >= MIN_SPOTS and center.paired_fraction >= _MIN_PAIRED_FRACTION


def are_equal_or_repeated(peaks: Peaks) -> bool:
    """Return whether all heights are equal, or equal to those a lattice vector away, as in a real-space image."""
    spread = np.subtract(*np.quantile(np.log(peaks.amplitude), [0.9, 0.1]))
    return bool(len(peaks) >= _MIN_EQUAL_PEAKS and spread < _EQUAL_SPREAD) or are_repeated(peaks)


def are_repeated(peaks: Peaks) -> bool:
    """Return whether heights are equal to those a lattice vector away, as of atomic columns and not of spots.

    The heights of neighboring spots in rendered patterns differ by a factor of exp(0.3) or more in the median, those of
    maxima in images of a lattice by less than exp(0.14). Saturated peaks are ignored.
    """
    peaks = peaks.take(~peaks.saturated)
    if len(peaks) < _MIN_REPEATED_PEAKS:
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
