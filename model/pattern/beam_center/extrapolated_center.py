"""Where the direct beam lies that the camera missed, told by what falls off from it.

The spots' lattice goes on beyond the frame, and the direct beam is one of its nodes. Which, is told by the ground,
round about it, by the heights of the spots, which fall off from it, and by their symmetry about it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.beam_center.direct_beam_evidence import fall_off_about, is_brightest_about
from model.pattern.beam_center.envelope import NodeHeights
from model.pattern.beam_center.friedel_center import Center, weigh_spots
from model.pattern.beam_center.lattice_node import SpotLattice
from model.pattern.signal.binning import Binned
from model.pattern.signal.diffuse_background import DiffuseGround
from model.pattern.signal.peaks import Peaks
from model.pattern.signal.real_space import are_alike

FloatArray = NDArray[np.float64]
BoolImage = NDArray[np.bool_]

_FEWEST_SEEN = 6
_LEAST_PROBABLE = 0.8
# A centre with so many pairs stays where its probability is no smaller: tilts make heights fall off to one side too.
_POSSIBLE, _MANY_PAIRS = 0.02, 30
# Of denser lattices a node is hardly told from its neighbours, and time would grow with the square.
_MOST_NODES = 3000


_NOT_TOLD = (
    "the spots fall off to one side of their centre of symmetry, so the direct beam lies elsewhere, perhaps off the "
    "frame, and where cannot be told; give center as x, y, which may lie outside of the frame, or move the beam onto it"
)


@dataclass(frozen=True)
class Evidence:
    """What a kind of evidence counts: its weight, and how often it points nowhere or to a wrong node."""

    weight: float
    misled: float

    def of(self, log_likelihood: FloatArray) -> FloatArray:
        """(C,) ln of the probability of each candidate."""
        scaled = self.weight * log_likelihood
        scaled = scaled - np.logaddexp.reduce(scaled)
        uniform = np.full(len(scaled), np.log(self.misled / len(scaled)))
        return np.asarray(np.logaddexp(np.log1p(-self.misled) + scaled, uniform))


# Fitted to 196 rendered frames of crystals of the validation part, the direct beam up to half a side outside.
_GROUND = Evidence(0.042, 0.144)
_ENVELOPE = Evidence(1.06, 0.048)
_SYMMETRY = Evidence(0.63, 0.28)
# Of ln of the probability, for each side of the frame that a node lies away from its middle.
_FARTHER = -2.5


@dataclass(frozen=True)
class Beam:
    """Where the direct beam is.

    Attributes:
        at: x, y in pixels.
        probability: that it is there.
        elsewhere: than at the centre of symmetry.
    """

    at: tuple[float, float]
    probability: float
    elsewhere: bool


@dataclass(frozen=True, eq=False)
class Detected:
    """What was found in a frame before its centre is known.

    Attributes:
        usable: (H, W) pixels that no beam stop covers.
        peaks: all, the direct beam may be among them.
        sigma: their deviation, pixels.
        binned: the frame.
    """

    usable: BoolImage
    peaks: Peaks
    sigma: float
    binned: Binned

    def direct_beam(self, symmetric: Center, spots: Peaks) -> Beam | None:
        """Where the direct beam is, if something speaks against a centre of symmetry; else None.

        Args:
            symmetric: the centre.
            spots: the peaks but for one there.

        Raises:
            NoSpotsError: the direct beam lies elsewhere, and where cannot be told.
        """
        center = np.array([symmetric.x, symmetric.y])
        if fall_off_about(center, spots, self.sigma, max(self.usable.shape)):
            return None
        ground = self.ground()
        if is_brightest_about(center, ground):
            return None
        found = self.probabilities(ground)
        if found is None:
            return None
        nodes, probability = found
        own = int(np.argmin(np.hypot(*(nodes - center).T)))
        excluded = probability[own] < _POSSIBLE or symmetric.pairs < _MANY_PAIRS
        if own == np.argmax(probability) or not excluded:
            return Beam((symmetric.x, symmetric.y), float(probability[own]), elsewhere=False)
        beam = _likeliest(nodes, probability)
        if beam is None:
            raise NoSpotsError(_NOT_TOLD)
        return beam

    def beam_without_symmetry(self) -> Beam | None:
        """Where the direct beam is, of spots that have no centre of symmetry; None where that cannot be told."""
        if len(self.peaks) < _FEWEST_SEEN or are_alike(self.peaks):
            return None
        found = self.probabilities(self.ground())
        return None if found is None else _likeliest(*found)

    def ground(self) -> DiffuseGround:
        """What lies between the peaks."""
        return DiffuseGround.of(self.binned, self.usable, self.peaks, self.sigma)

    def probabilities(self, ground: DiffuseGround) -> tuple[FloatArray, FloatArray] | None:
        """(C, 2) the lattice's nodes in the frame and up to its width outside, (C,) how probable each is.

        None where spots have no lattice, or too dense a one.
        """
        found = self.evidence(ground)
        if found is None:
            return None
        nodes, round_ground, envelope, symmetry = found
        middle = (np.array(self.usable.shape[::-1]) - 1) / 2
        log_probability = _FARTHER * np.hypot(*(nodes - middle).T) / ground.side
        log_probability += _GROUND.of(round_ground) + _ENVELOPE.of(envelope) + _SYMMETRY.of(symmetry)
        return nodes, np.exp(log_probability - np.logaddexp.reduce(log_probability))

    def evidence(self, ground: DiffuseGround) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
        """(C, 2) nodes; (C,) ln of the likelihoods of ground, heights and symmetry about each, or None."""
        peaks = self.peaks
        weight = weigh_spots(len(peaks), peaks.amplitude)
        lattice = SpotLattice.of(peaks.pixels, weight, np.median(peaks.pixels, axis=0))
        if lattice is None:
            return None
        height, width = self.usable.shape
        side = ground.side
        if 9 * height * width > _MOST_NODES * abs(np.linalg.det(lattice.basis)):
            return None
        index = lattice.indices_within((-width + 1, -height + 1, 2 * width - 2, 2 * height - 2))
        seen = NodeHeights.of(lattice, peaks, self.sigma, self.usable)
        if seen.seen.sum() < _FEWEST_SEEN:
            return None
        nodes = lattice.origin + index @ lattice.basis
        envelope, deviation = seen.falling_off(nodes, side)
        return nodes, ground.roundness(nodes, peaks), envelope, seen.symmetry(index, deviation, lattice)


def _likeliest(nodes: FloatArray, probability: FloatArray) -> Beam | None:
    """The likeliest node, None where it is not likely enough."""
    best = int(np.argmax(probability))
    if probability[best] < _LEAST_PROBABLE:
        return None
    x, y = nodes[best].tolist()
    return Beam((x, y), float(probability[best]), elsewhere=True)
