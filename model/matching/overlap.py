"""Two lattices in one pattern: a twisted pair of layers, or two flakes in the beam."""

from dataclasses import dataclass, replace
from math import atan2, degrees, gcd, hypot
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.matching.indexing import PlaneLattice, index_pattern
from model.matching.lattice_table import sublattices
from model.matching.match import Match
from model.matching.observation import Observation
from model.pattern.spots import MINIMUM_SPOTS, Spots
from model.physics.kinematic import Geometry, on_camera

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# One lattice may leave so large a share of the spots, or so few of them, as false ones.
FALSE_SHARE, FALSE_SPOTS = 0.04, 5
# Of a crystal with a superstructure: its cell at most, over that without; of the spots that it has without, their share
# of the intensity and their number, at least, the R-factor and the missing beams of an explanation, at most.
LARGEST_SUPERCELL = 13
STRONG_SHARE, FEWEST_OF_PARENT, WELL_FITTED, FEW_MISSING = 0.9, 10, 0.15, 0.2
# Basis vectors of two lattices this near to points of each other are on them.
SAME_POINT_INV_ANGSTROM = 0.008
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
        """What a second lattice explains of a pattern; None where the first leaves little, nothing of order, or a
        superlattice of its own.

        Args:
            spots: the pattern.
            lattice: its first.
            voltage_kv: accelerating voltage.
        """
        second = second_lattice(spots, lattice, voltage_kv)
        if second is None or superlattice_index(lattice, second) is not None:
            return None
        on_first, on_second = (each.counting(spots.q_inv_angstrom).met for each in (lattice, second))
        if min(on_first.sum(), on_second.sum()) < MINIMUM_SPOTS:
            return None
        return cls((taken(spots, on_first), taken(spots, on_second)), (lattice, second))


def second_lattice(spots: Spots, lattice: PlaneLattice, voltage_kv: float) -> PlaneLattice | None:
    """That of the spots which the first lattice of a pattern leaves; None where they are few, or without order."""
    left = ~lattice.counting(spots.q_inv_angstrom).met
    if left.sum() < max(FALSE_SHARE * len(spots), FALSE_SPOTS):
        return None
    return index_pattern(Observation.of(taken(spots, left), voltage_kv))


def superlattice_index(lattice: PlaneLattice, second: PlaneLattice) -> int | None:
    """How many cells of a lattice one of a second holds that all its spots lie on; None where they do not.

    Weak spots between those of a lattice, by a wave of charge or an order of vacancies, have such a lattice; a second
    layer has none but by chance.
    """
    change = lattice.basis @ np.linalg.inv(second.basis)
    whole = np.rint(change)
    off = np.linalg.norm((change - whole) @ second.basis, axis=1).max()
    index = abs(round(float(np.linalg.det(whole))))
    return index if off < SAME_POINT_INV_ANGSTROM and index > 1 else None


def of_parent(spots: Spots, lattice: PlaneLattice) -> BoolArray | None:
    """(N,) the spots that a crystal without its superstructure would have; None where a lattice shows none.

    They lie on a coarser lattice and carry nearly all of the intensity. Of several the one of the fewest points counts.

    Args:
        spots: the pattern.
        lattice: its own.
    """
    if spots.intensity is None:
        return None
    met = lattice.counting(spots.q_inv_angstrom).met
    hk = np.rint(spots.q_inv_angstrom @ np.linalg.inv(lattice.basis))
    coarser = sublattices(range(2, LARGEST_SUPERCELL + 1))
    # An index of the fine lattice is one of the coarse if it is whole there too.
    within = hk @ np.linalg.inv(coarser)
    on = met & (np.abs(within - np.rint(within)) < 1e-6).all(axis=2)
    share = on @ spots.intensity / max(float(spots.intensity[met].sum()), 1e-300)
    index = np.abs(np.linalg.det(coarser))
    usable = (share > STRONG_SHARE) & (on.sum(axis=1) >= FEWEST_OF_PARENT)
    if not usable.any():
        return None
    return np.asarray(on[np.lexsort((share, index * usable))[-1]])


def fits_but_for_superstructure(match: Match) -> bool:
    """Whether a crystal explains what of a pattern is not of a superstructure."""
    return match.r_factor is not None and match.r_factor < WELL_FITTED and match.missing < FEW_MISSING


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


def taken(spots: Spots, rows: BoolArray) -> Spots:
    """The spots at these rows."""
    return replace(
        spots,
        q_inv_angstrom=spots.q_inv_angstrom[rows],
        intensity=None if spots.intensity is None else spots.intensity[rows],
        pixels=None if spots.pixels is None else spots.pixels[rows],
    )
