"""Two lattices in one pattern: the layers of a twisted pair, or two flakes in the beam."""

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
from model.pattern.spots import DIRECT_BEAM_RADIUS_INV_ANGSTROM, MIN_SPOTS, Spots
from model.physics.kinematic import Geometry, project_to_camera

FloatArray = NDArray[np.float64]

MAX_FALSE_SHARE, MAX_FALSE_SPOTS = 0.04, 5
"""Share and number of spots that may be off a single lattice, as false ones."""
SYMMETRY_TOLERANCE = 0.01
"""Largest relative deviation of lengths, or of a cosine, from those of a higher symmetry."""


@dataclass(frozen=True)
class OverlappingLattices:
    """The two lattices of a pattern, with the spots of each.

    Attributes:
        spots: of the first and of the second lattice; spots that lie on both are in both.
        lattices: that of the whole pattern, and that of the spots which are not on it.
    """

    spots: tuple[Spots, Spots]
    lattices: tuple[PatternLattice, PatternLattice]

    @classmethod
    def find(cls, spots: Spots, lattice: PatternLattice, voltage_kv: float) -> Self | None:
        """Find a second lattice.

        Args:
            spots: the pattern.
            lattice: the pattern's lattice.
            voltage_kv: accelerating voltage.

        Returns:
            None where few spots are off the first lattice, or these are without order or on a superlattice of it.
        """
        second = find_second_lattice(spots, lattice, voltage_kv)
        if second is None or is_superlattice(spots, lattice, second):
            return None
        on_first = lattice.index_spots(spots.q_inv_angstrom).on_lattice
        on_second = second.index_spots(spots.q_inv_angstrom).on_lattice
        if min(on_first.sum(), on_second.sum()) < MIN_SPOTS:
            return None
        return cls((spots.take(on_first), spots.take(on_second)), (lattice, second))


def find_second_lattice(spots: Spots, lattice: PatternLattice, voltage_kv: float) -> PatternLattice | None:
    """Find the lattice of the spots that do not lie on the first; None if they are too few or have no order."""
    length = np.linalg.norm(spots.q_inv_angstrom, axis=1)
    compared = (length > DIRECT_BEAM_RADIUS_INV_ANGSTROM) & (length <= Q_MAX_INV_ANGSTROM)
    off_lattice = compared & ~lattice.index_spots(spots.q_inv_angstrom).on_lattice
    if off_lattice.sum() < max(MAX_FALSE_SHARE * len(spots), MAX_FALSE_SPOTS):
        return None
    return index_pattern(Observation.from_spots(spots.take(off_lattice), voltage_kv))


@dataclass(frozen=True)
class Twist:
    """The twist between two layers.

    Attributes:
        angle_deg: between their a axes, the smallest that the symmetry of the lattices allows.
        sigma_deg: its standard uncertainty.
    """

    angle_deg: float
    sigma_deg: float

    @classmethod
    def between(cls, crystals: tuple[Crystal, Crystal], matches: tuple[Match, Match]) -> Self:
        """Return the twist between two crystals that match one pattern."""
        period = gcd(*[_find_period_deg(crystal.lattice) for crystal in crystals])
        first, second = map(_find_a_axis_deg, crystals, matches)
        angle = (second - first) % period
        sigma = hypot(matches[0].rotation_sigma_deg, matches[1].rotation_sigma_deg)
        return cls(min(angle, period - angle), sigma)


def _find_a_axis_deg(crystal: Crystal, match: Match) -> float:
    """Return the direction of the a axis on the camera, degrees; a flake face down is turned over about it."""
    geometry = Geometry(rotation_deg=match.rotation_deg, mirrored=match.mirrored)
    ((x, y),) = project_to_camera(crystal.lattice[:1], geometry).tolist()
    return degrees(atan2(y, x))


def _find_period_deg(lattice: FloatArray) -> int:
    """Return the angle after which a reduced lattice (2, 2) repeats."""
    a, b = np.linalg.norm(lattice, axis=1).tolist()
    cosine = abs(float(lattice[0] @ lattice[1]) / (a * b))
    if b / a - 1 > SYMMETRY_TOLERANCE:
        return 180
    if abs(cosine - 0.5) < SYMMETRY_TOLERANCE:
        return 60
    return 90 if cosine < SYMMETRY_TOLERANCE else 180
