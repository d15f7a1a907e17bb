"""Two lattices in one pattern: a twisted pair of layers, or two flakes in the beam."""

from dataclasses import dataclass
from math import atan2, degrees, gcd, hypot
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.matching.match import Match
from model.matching.superlattice import is_superlattice
from model.pattern.observation import Q_MAX_INV_ANGSTROM, Observation
from model.pattern.scale import DIRECT_BEAM_RADIUS_INV_ANGSTROM
from model.pattern.spots import MIN_SPOTS, Spots
from model.physics.kinematic import Geometry, on_camera

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# One lattice may leave so large a share of the spots, or so few of them, as false ones.
MAX_FALSE_SHARE, MAX_FALSE_SPOTS = 0.04, 5
# How nearly equal lengths, or a right angle, have to be for the symmetry that they suggest.
ALIKE = 0.01


@dataclass(frozen=True)
class OverlappingLattices:
    """A pattern taken apart.

    Attributes:
        spots: those of either lattice; spots that lie on both are in both.
        lattices: that of the whole pattern, and that of what it leaves.
    """

    spots: tuple[Spots, Spots]
    lattices: tuple[PatternLattice, PatternLattice]

    @classmethod
    def find(cls, spots: Spots, lattice: PatternLattice, voltage_kv: float) -> Self | None:
        """What a second lattice explains of a pattern; None where the first leaves little, nothing of order, or a
        superlattice of its own.

        Args:
            spots: the pattern.
            lattice: its first.
            voltage_kv: accelerating voltage.
        """
        second = find_second_lattice(spots, lattice, voltage_kv)
        if second is None or is_superlattice(spots, lattice, second):
            return None
        on_first, on_second = (
            each.index_spots(spots.q_inv_angstrom).on_lattice for each in (lattice, second)
        )
        if min(on_first.sum(), on_second.sum()) < MIN_SPOTS:
            return None
        return cls((spots.take(on_first), spots.take(on_second)), (lattice, second))


def find_second_lattice(spots: Spots, lattice: PatternLattice, voltage_kv: float) -> PatternLattice | None:
    """That of the spots which the first lattice of a pattern leaves; None where they are few, or without order."""
    length = np.linalg.norm(spots.q_inv_angstrom, axis=1)
    compared = (length > DIRECT_BEAM_RADIUS_INV_ANGSTROM) & (length <= Q_MAX_INV_ANGSTROM)
    left = compared & ~lattice.index_spots(spots.q_inv_angstrom).on_lattice
    if left.sum() < max(MAX_FALSE_SHARE * len(spots), MAX_FALSE_SPOTS):
        return None
    return index_pattern(Observation.from_spots(spots.take(left), voltage_kv))


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
    def between(cls, crystals: tuple[Crystal, Crystal], matches: tuple[Match, Match]) -> Self:
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
