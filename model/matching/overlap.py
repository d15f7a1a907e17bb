"""Two lattices in one pattern: a twisted pair of layers, or two flakes in the beam."""

from dataclasses import dataclass, replace
from math import atan2, degrees, gcd, hypot
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.matching.indexing import PlaneLattice, index_pattern
from model.matching.match import Match
from model.matching.observation import Observation
from model.pattern.spots import MINIMUM_SPOTS, Spots
from model.physics.kinematic import Geometry, on_camera

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# One lattice may leave so large a share of the spots, or so few of them, as false ones.
FALSE_SHARE, FALSE_SPOTS = 0.04, 5
# How nearly equal lengths, or a right angle, have to be for the symmetry that they suggest.
ALIKE = 0.01


@dataclass(frozen=True)
class Overlap:
    """A pattern taken apart.

    Attributes:
        spots: those of either lattice; spots that lie on both are in both.
        lattices: that of the whole pattern, and that of what it leaves.
    """

    spots: tuple[Spots, Spots]
    lattices: tuple[PlaneLattice, PlaneLattice]

    @classmethod
    def of(cls, spots: Spots, lattice: PlaneLattice, voltage_kv: float) -> Self | None:
        """What a second lattice explains of a pattern; None where the first leaves little, or nothing of order.

        Args:
            spots: the pattern.
            lattice: its first.
            voltage_kv: accelerating voltage.
        """
        left = ~lattice.counting(spots.q_inv_angstrom).met
        if left.sum() < max(FALSE_SHARE * len(spots), FALSE_SPOTS):
            return None
        second = index_pattern(Observation.of(_taken(spots, left), voltage_kv))
        if second is None:
            return None
        on_first, on_second = (each.counting(spots.q_inv_angstrom).met for each in (lattice, second))
        if min(on_first.sum(), on_second.sum()) < MINIMUM_SPOTS:
            return None
        return cls((_taken(spots, on_first), _taken(spots, on_second)), (lattice, second))


@dataclass(frozen=True)
class Twist:
    """How two layers lie to each other.

    Attributes:
        angle_deg: between their a axes, as small as the symmetry of the lattices makes it.
        sigma_deg: its standard error.
    """

    angle_deg: float
    sigma_deg: float

    @classmethod
    def of(cls, crystals: tuple[Crystal, Crystal], matches: tuple[Match, Match]) -> Self:
        """Of two crystals as they lie on one pattern."""
        period = gcd(*(_period_deg(crystal.lattice) for crystal in crystals))
        first, second = (_axis_deg(crystal, match) for crystal, match in zip(crystals, matches, strict=True))
        angle = (second - first) % period
        sigma = hypot(matches[0].rotation_sigma_deg, matches[1].rotation_sigma_deg)
        return cls(min(angle, period - angle), sigma)


def _axis_deg(crystal: Crystal, match: Match) -> float:
    """Direction of the a axis on the camera; a flake face down is turned over about it."""
    seen = on_camera(crystal.lattice[:1], Geometry(rotation_deg=match.rotation_deg, mirrored=match.mirrored))
    return degrees(atan2(seen[0, 1], seen[0, 0]))


def _period_deg(lattice: FloatArray) -> int:
    """Angle after which a reduced lattice (2, 2) is the same again."""
    a, b = np.linalg.norm(lattice, axis=1).tolist()
    cosine = abs(float(lattice[0] @ lattice[1]) / (a * b))
    if b / a - 1 > ALIKE:
        return 180
    return 60 if abs(cosine - 0.5) < ALIKE else 90 if cosine < ALIKE else 180


def _taken(spots: Spots, rows: BoolArray) -> Spots:
    return replace(
        spots,
        q_inv_angstrom=spots.q_inv_angstrom[rows],
        intensity=None if spots.intensity is None else spots.intensity[rows],
        pixels=None if spots.pixels is None else spots.pixels[rows],
    )
