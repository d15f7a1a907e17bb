"""What speaks for a set of bright places being a diffraction pattern, and each being a spot of it."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.centre import Centre, spot_weights
from model.pattern.lattice_node import SpotLattice
from model.pattern.peaks import Peaks
from model.pattern.spots import MINIMUM_SPOTS

BoolImage = NDArray[np.bool_]

_NO_SYMMETRY = (
    "the bright places of the image have no centre of symmetry, so it does not look like a diffraction pattern; if it "
    "is one whose centre is far from the middle, give center as x, y"
)
_LEAST_PAIRED = 0.15
_MANY, _MANY_PAIRED = 12, 0.45
_CHANCE = 0.2
_EVEN_COUNT = 30
_EVEN_SPREAD = 0.5
_REPEATED_COUNT, _JUDGED, _NEIGHBOURS = 20, 120, 12
_SAME_STEP, _COMMON_STEP, _ALIKE = 0.12, 0.3, 0.18


def require_diffraction(peaks: Peaks, center: Centre) -> None:
    """Refuse what shows bright places without the symmetry, or the range of brightness, of diffraction.

    Raises:
        NoSpotsError: too few spots, no centre of symmetry, or the equal bright places of a real-space image.
    """
    if len(peaks) < MINIMUM_SPOTS:
        raise NoSpotsError(
            f"{len(peaks)} spots stand out from the background; at least {MINIMUM_SPOTS} are needed"
        )
    if not has_symmetry(center):
        raise NoSpotsError(_NO_SYMMETRY)
    if are_alike(peaks):
        raise NoSpotsError(
            "the bright places of the image are all alike, or alike a lattice vector on, as in an image of real "
            "space; upload a diffraction pattern"
        )


def are_alike(peaks: Peaks) -> bool:
    """Whether bright places are all alike, or alike a lattice vector on, as in an image of real space."""
    spread = np.subtract(*np.quantile(np.log(peaks.amplitude), [0.9, 0.1]))
    return bool(len(peaks) >= _EVEN_COUNT and spread < _EVEN_SPREAD) or repeats(peaks)


def require_symmetry(center: Centre, count: int) -> None:
    """Refuse many spots of which, with the noise taken out, fewer are paired than about the best place of any image.

    Of rendered patterns no fewer than three quarters are paired, of images of a lattice that get so far two fifths.

    Args:
        center: with its final support.
        count: of the spots.

    Raises:
        NoSpotsError: so few are paired.
    """
    if count >= _MANY and center.paired_fraction < _MANY_PAIRED:
        raise NoSpotsError(_NO_SYMMETRY)


def has_symmetry(center: Centre) -> bool:
    """Whether enough of the bright places have a mate across the centre."""
    return center.pairs >= MINIMUM_SPOTS and center.paired_fraction >= _LEAST_PAIRED


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


def without_noise(peaks: Peaks, center: Centre, sigma: float, usable: BoolImage) -> Peaks:
    """The spots down to the amplitude below which they have partners no more often than chance allows.

    Single hot pixels and counts far out in the noise's tail pass any threshold, but come without partners.
    """
    order = np.argsort(-peaks.amplitude, kind="stable")
    pixels = peaks.pixels[order]
    mirrored = 2 * np.array([center.x, center.y]) - pixels
    distance = cKDTree(pixels).query(mirrored)[0]
    last = np.array(usable.shape[::-1]) - 1
    columns, rows = np.clip(np.round(mirrored), 0, last).astype(np.intp).T
    seen = ((mirrored >= 0) & (mirrored <= last)).all(axis=1) & usable[rows, columns]
    evidence = np.where(distance < 1.5 * sigma + 1, 1 - _CHANCE, -_CHANCE) * seen
    best = len(evidence) - 1 - int(np.argmax(np.cumsum(evidence)[::-1]))
    return peaks.take(np.sort(order[: best + 1]))


def without_ripples(peaks: Peaks, center: Centre, sigma: float, height: float) -> Peaks:
    """The spots higher than `height`, and of the lower ones those with a mate, or on the lattice of the higher ones.

    A low mate has to lie more closely than a high one. Of JPEG frames this keeps 92.3 % of the spots five sigma above
    the noise, 99.0 % of those kept being true; of all spots higher than 1.6 levels it was 91.6 and 97.5 %.
    """
    high, middle = peaks.amplitude > height, np.array([center.x, center.y])
    strong, mirrored = peaks.take(high), 2 * middle - peaks.pixels
    believed = high | (cKDTree(peaks.pixels).query(mirrored)[0] < 0.7 * sigma + 0.3)
    if len(strong):
        believed |= cKDTree(strong.pixels).query(mirrored)[0] < 1.5 * sigma + 1
        weight = spot_weights(len(strong), strong.amplitude)
        lattice = SpotLattice.of(strong.pixels, weight, middle)
        if lattice is not None:
            believed |= lattice.distance(peaks.pixels) < sigma + 1
    return peaks.take(believed)
