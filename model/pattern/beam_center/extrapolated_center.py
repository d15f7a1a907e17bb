"""Position of a direct beam outside the frame, extrapolated from how spots and background fall off.

The lattice of the spots continues beyond the frame, and the direct beam is one of its nodes. Three kinds of evidence
select the node: the background is round about it, the heights of the spots fall off from it, and they are symmetric
about it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.beam_center.diffuse_background import DiffuseBackground
from model.pattern.beam_center.node_heights import NodeHeights
from model.pattern.beam_center.spot_lattice import SpotLattice
from model.pattern.beam_center.symmetry_center import Center, weigh_spots
from model.pattern.signal.peaks import DetectedPeaks, Peaks

FloatArray = NDArray[np.float64]

MIN_PEAKS = 6
_MIN_PROBABILITY = 0.8
# A center of symmetry with so many pairs is kept unless its probability is smaller than this: tilt can also make
# heights fall off to one side.
_MIN_PROBABILITY_OF_SYMMETRIC, _MANY_PAIRS = 0.02, 30
# In denser lattices neighboring nodes are hardly distinguishable, and the time grows with the square.
_MAX_NODES = 3000
_MIN_SPOTS_TO_FALL_OFF = 20
# ln height per side of the frame, share of its variance that a gradient explains, and correlation of Friedel mates. Of
# 364 rendered frames with the direct beam inside, all that are not brightest near the center pass; of 244 with it
# elsewhere, one in sixty does.
_MAX_SLOPE, _MAX_GRADIENT_SHARE, _MIN_CORRELATION = -3.0, 0.08, 0.25

_UNKNOWN_CENTER = (
    "The spots fall off to one side of their center of symmetry, so the direct beam lies elsewhere, perhaps outside "
    "the frame, and its position cannot be determined; give center as x, y, which may lie outside the frame, or move "
    "the beam onto it."
)


@dataclass(frozen=True)
class EvidenceModel:
    """How a kind of evidence is turned into probabilities.

    Attributes:
        weight: factor of its log-likelihood.
        misled: probability that it favors no node or a wrong one.
    """

    weight: float
    misled: float

    def compute_log_probability(self, log_likelihood: FloatArray) -> FloatArray:
        """Return the log probability (C,) of each node."""
        scaled = self.weight * log_likelihood
        scaled = scaled - np.logaddexp.reduce(scaled)
        uniform = np.full(len(scaled), np.log(self.misled / len(scaled)))
        return np.asarray(np.logaddexp(np.log1p(-self.misled) + scaled, uniform))


# Fitted to 196 rendered frames of validation crystals with the direct beam up to half a side outside.
_BACKGROUND_MODEL = EvidenceModel(0.042, 0.144)
_FALL_OFF_MODEL = EvidenceModel(1.06, 0.048)
_SYMMETRY_MODEL = EvidenceModel(0.63, 0.28)
# ln of the prior probability, for each side of the frame that a node lies away from its middle.
_LOG_PRIOR_PER_SIDE = -2.5


@dataclass(frozen=True)
class DirectBeam:
    """The most probable position of the direct beam.

    Attributes:
        position: x, y in pixels.
        probability: probability that it is there.
        is_elsewhere: whether it differs from the center of symmetry.
    """

    position: tuple[float, float]
    probability: float
    is_elsewhere: bool


def find_direct_beam(detected: DetectedPeaks, center: Center, spots: Peaks) -> DirectBeam | None:
    """Find the direct beam if something contradicts a center of symmetry; None if nothing does.

    Args:
        detected: all peaks of the frame.
        center: the center of symmetry.
        spots: the peaks without the one at the center.

    Raises:
        NoSpotsError: The direct beam lies elsewhere, and its position cannot be determined.
    """
    point = np.array([center.x, center.y])
    if _heights_fall_off_from(point, spots, detected.sigma, max(detected.usable.shape)):
        return None
    background = DiffuseBackground.measure(detected)
    if background.is_brightest_near(point):
        return None
    nodes_and_probabilities = _compute_probabilities(detected, background)
    if nodes_and_probabilities is None:
        return None
    nodes, probability = nodes_and_probabilities
    own = int(np.argmin(np.hypot(*(nodes - point).T)))
    is_excluded = probability[own] < _MIN_PROBABILITY_OF_SYMMETRIC or center.pairs < _MANY_PAIRS
    if own == np.argmax(probability) or not is_excluded:
        return DirectBeam((center.x, center.y), float(probability[own]), is_elsewhere=False)
    direct_beam = _choose_most_probable(nodes, probability)
    if direct_beam is None:
        raise NoSpotsError(_UNKNOWN_CENTER)
    return direct_beam


def _heights_fall_off_from(center: FloatArray, peaks: Peaks, sigma: float, side: int) -> bool:
    """Return whether heights fall off from a center to all sides, with similar heights of Friedel mates.

    Args:
        center: (2,) x, y in pixels.
        peaks: the spots without the direct beam.
        sigma: their standard deviation, in pixels.
        side: pixels along the longer side of the frame.
    """
    if len(peaks.pixels) < _MIN_SPOTS_TO_FALL_OFF:
        return False
    offset = (peaks.pixels - center) / side
    log_height = np.log(np.maximum(peaks.amplitude, 1e-30))
    ones = np.ones(len(peaks.pixels))
    slope, residual = _fit_linear(np.column_stack([np.hypot(*offset.T), ones]), log_height)
    _, without_gradient = _fit_linear(np.column_stack([offset, ones]), log_height)
    variance = float(np.sum((log_height - log_height.mean()) ** 2))
    gradient_share = 1 - float(without_gradient @ without_gradient) / max(variance, 1e-12)
    distance, mate = cKDTree(offset).query(-offset)
    paired = distance < max(2 * sigma, 3.0) / side
    own, other = residual[paired], residual[mate[paired]]
    if len(own) < _MIN_SPOTS_TO_FALL_OFF or gradient_share > _MAX_GRADIENT_SHARE or slope[0] > _MAX_SLOPE:
        return False
    return float(own @ other) > _MIN_CORRELATION * float(own @ own)


def _fit_linear(design: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least-squares solution and its residuals."""
    solution = np.asarray(np.linalg.lstsq(design, value, rcond=None)[0], dtype=np.float64)
    return solution, value - design @ solution


def find_direct_beam_without_symmetry(detected: DetectedPeaks) -> DirectBeam | None:
    """Find the direct beam of peaks without a center of symmetry; None if its position cannot be determined."""
    nodes_and_probabilities = _compute_probabilities(detected, DiffuseBackground.measure(detected))
    return None if nodes_and_probabilities is None else _choose_most_probable(*nodes_and_probabilities)


def _compute_probabilities(
    detected: DetectedPeaks, background: DiffuseBackground
) -> tuple[FloatArray, FloatArray] | None:
    """Return the nodes (C, 2) of the lattice in the frame and up to its width outside, and their probabilities (C,).

    None if the spots have no lattice, or too dense a one.
    """
    peaks, (height, width) = detected.peaks, detected.usable.shape
    weight = weigh_spots(len(peaks.pixels), peaks.amplitude)
    lattice = SpotLattice.fit(peaks.pixels, weight, np.median(peaks.pixels, axis=0))
    if lattice is None or 9 * height * width > _MAX_NODES * abs(np.linalg.det(lattice.basis)):
        return None
    heights = NodeHeights.measure(lattice, detected)
    if heights.seen.sum() < MIN_PEAKS:
        return None
    index = lattice.find_indices_within((-width + 1, -height + 1, 2 * width - 2, 2 * height - 2))
    nodes = lattice.origin + index @ lattice.basis
    fall_off, residual = heights.fit_fall_off(nodes, background.side)
    roundness = background.compute_roundness(nodes, peaks)
    symmetry = heights.compute_symmetry(index, residual, lattice)
    middle = (np.array([width, height]) - 1) / 2
    log_probability = _LOG_PRIOR_PER_SIDE * np.hypot(*(nodes - middle).T) / background.side
    log_probability += (
        _BACKGROUND_MODEL.compute_log_probability(roundness)
        + _FALL_OFF_MODEL.compute_log_probability(fall_off)
        + _SYMMETRY_MODEL.compute_log_probability(symmetry)
    )
    return nodes, np.exp(log_probability - np.logaddexp.reduce(log_probability))


def _choose_most_probable(nodes: FloatArray, probability: FloatArray) -> DirectBeam | None:
    """Return the most probable node; None if it is not probable enough."""
    best = int(np.argmax(probability))
    if probability[best] < _MIN_PROBABILITY:
        return None
    x, y = nodes[best].tolist()
    return DirectBeam((x, y), float(probability[best]), is_elsewhere=True)
