"""Comparison of layers of one composition: their lattices are mapped onto each other, then their sites.

The results agree with pymatgen's StructureMatcher (Ong et al., Comput. Mater. Sci. 68, 314, 2013) for layers with equal
vacuum, at a fraction of the cost because the normal is known. A map consists of a basis of the plane lattice, a face,
and one atom that is mapped onto another. Mirror images are equal: their patterns cannot be distinguished from those of
a flake that is turned over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from model.crystal.canonical import list_basis_changes
from model.crystal.crystal import Crystal
from model.crystal.reduction import TRANSLATION_TOLERANCE_ANGSTROM, find_rarest_atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Vacuum of the box that defines the volume per atom, as in StructureMatcher; the volume scales the site tolerance.
_BOX_VACUUM_ANGSTROM = 20.0
_DISTANCES_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Tolerance:
    """How far two descriptions of the same crystal may differ.

    Attributes:
        length_fraction: of the cell vectors, relative.
        angle_deg: between the cell vectors, degrees.
        site_fraction: largest displacement of a site, in units of the cube root of the volume per atom in a
            box with 20 angstrom of vacuum (about 4 angstrom).
        translation_angstrom: a superlattice that deviates from a smaller cell by less is reduced to that cell.
    """

    length_fraction: float = 0.05
    angle_deg: float = 3.0
    site_fraction: float = 0.15
    translation_angstrom: float = TRANSLATION_TOLERANCE_ANGSTROM


class SiteMatcher:
    """Compares crystals that have the same atoms in their primitive cells.

    Args:
        crystals: C crystals with equal atomic numbers.
        tolerance: how far equal crystals may differ.
    """

    def __init__(self, crystals: Sequence[Crystal], tolerance: Tolerance) -> None:
        numbers = crystals[0].numbers
        self._tolerance = tolerance
        self._lattices = np.array([crystal.lattice for crystal in crystals])  # (C, 2, 2)
        self._xy = np.array([c.positions[:, :2] @ np.linalg.inv(c.lattice) for c in crystals])  # (C, N, 2)
        z = np.array([crystal.positions[:, 2] for crystal in crystals])
        self._z = z - z.mean(axis=1, keepdims=True)  # (C, N)
        self._species = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
        self._rare = find_rarest_atoms(numbers)
        self._lengths = np.linalg.norm(self._lattices, axis=2)  # (C, 2)
        self._angles = _compute_angles(self._lattices)  # (C,) degrees
        heights = np.ptp(self._z, axis=1) + _BOX_VACUUM_ANGSTROM
        volumes = np.abs(np.linalg.det(self._lattices)) * heights / len(numbers)
        self._reach = tolerance.site_fraction * np.cbrt(volumes)  # (C,) angstrom
        self._profiles = np.stack([self._sort_heights(1.0), self._sort_heights(-1.0)])  # (2, C, N)

    def _sort_heights(self, face: float) -> FloatArray:
        return np.concatenate([np.sort(face * self._z[:, atoms], axis=1) for atoms in self._species], axis=1)

    def match(self, one: int, others: IntArray) -> BoolArray:
        """Return (O,) booleans: whether crystal `one` equals each of the others."""
        matrices, fits = self._map_lattice(one, others)  # (K, 2, 2), (O, K)
        found = np.zeros(len(others), dtype=bool)
        for side, face in enumerate((1.0, -1.0)):
            difference = np.abs(self._profiles[side, one] - self._profiles[0, others])
            level = difference.max(axis=1) <= self._reach[others]
            open_ = np.flatnonzero(~found & level & fits.any(axis=1))
            # Of a large cell, even the maps onto one other are compared in parts, by the atom that is mapped first.
            distances = len(matrices) * self._z.shape[1] ** 2 + 1
            anchors = min(1 + _DISTANCES_AT_ONCE // distances, len(self._rare))
            step = 1 + _DISTANCES_AT_ONCE // (distances * anchors)
            for start, first in product(range(0, len(open_), step), range(0, len(self._rare), anchors)):
                part = open_[start : start + step]
                part = part[~found[part]]
                if len(part):
                    rare = self._rare[first : first + anchors]
                    found[part] = self._match_sites(one, others[part], matrices, fits[part], face, rare)
        return found

    def _map_lattice(self, one: int, others: IntArray) -> tuple[IntArray, BoolArray]:
        """Return K basis changes of `one` that map its lattice onto any of the others, and (O, K) onto which."""
        changes = list_basis_changes()  # (B, 2, 2)
        bases = changes @ self._lattices[one]
        lengths, angles = np.linalg.norm(bases, axis=2), _compute_angles(bases)
        target = self._lengths[others][:, None]
        fits = (np.abs(lengths - target) <= self._tolerance.length_fraction * target).all(axis=2)
        fits &= np.abs(angles - self._angles[others][:, None]) <= self._tolerance.angle_deg
        used = fits.any(axis=0)
        return changes[used], fits[:, used]

    def _match_sites(
        self,
        one: int,
        others: IntArray,
        matrices: IntArray,
        fits: BoolArray,
        face: float,
        rare: IntArray,
    ) -> BoolArray:
        """Return (O,) whether a map takes every site of `one`, seen from this face, to an equal site."""
        moved = self._xy[one] @ np.linalg.inv(matrices)  # (K, N, 2)
        moved = moved[:, None] - moved[:, rare, None]  # (K, M, N, 2)
        fixed = self._xy[others] - self._xy[others][:, self._rare[:1]]  # (O, N, 2)
        rise = face * self._z[one] - self._z[others][:, :, None]  # (O, N, N), to the second atom
        metric = 0.5 * (
            _compute_metric(self._lattices[others])[:, None] + _compute_metric(matrices @ self._lattices[one])
        )
        reach = 0.5 * (self._reach[others] + self._reach[one])
        worst = np.zeros((len(others), len(matrices), len(rare)))
        for atoms in self._species:
            # (O, K, M, n, n, 2): from each site of the others to each moved one
            block = np.ix_(np.arange(len(others)), atoms, atoms)
            apart = moved[None, :, :, None, atoms] - fixed[:, None, None, atoms, None]
            squares = _square_lengths(apart - np.round(apart), metric[:, :, None, None, None])
            squares += (rise[block] ** 2)[:, None, None]
            np.maximum(worst, squares.min(axis=-1).max(axis=-1), out=worst)
        worst[~fits] = np.inf
        found = np.zeros(len(others), dtype=bool)
        for other in np.flatnonzero(worst.min(axis=(1, 2)) <= (2.0 * reach) ** 2):
            limit = float(reach[other])
            good = np.argwhere(worst[other] <= (2.0 * limit) ** 2)
            good = good[np.argsort(worst[other][tuple(good.T)])]
            found[other] = any(
                self._is_within(moved[k, m] - fixed[other][:, None], rise[other], metric[other, k], limit)
                for k, m in good
            )
        return found

    def _is_within(self, apart: FloatArray, rise: FloatArray, metric: FloatArray, limit: float) -> bool:
        """Return whether the sites match one to one within the limit, after subtraction of the mean displacement.

        Args:
            apart: (N, N, 2) fractional displacements from each site to each mapped site.
            rise: (N, N) the same along the normal, angstrom.
            metric: (3,) of the plane lattice, as `_compute_metric` returns it.
            limit: largest distance, angstrom.
        """
        apart = apart - np.round(apart)
        squares = _square_lengths(apart, metric) + rise * rise
        partner = np.empty(len(squares), dtype=np.int64)
        for atoms in self._species:
            nearest = squares[np.ix_(atoms, atoms)].argmin(axis=1)
            if len(set(nearest.tolist())) < len(atoms):
                return False
            partner[atoms] = atoms[nearest]
        sites = np.arange(len(squares))
        flat, steep = apart[sites, partner], rise[sites, partner]
        flat, steep = flat - flat.mean(axis=0), steep - steep.mean()
        return bool((_square_lengths(flat, metric) + steep * steep).max() <= limit * limit)


def _compute_metric(lattices: FloatArray) -> FloatArray:
    """Return (..., 3) a.a, b.b and 2 a.b of each lattice."""
    a, b = lattices[..., 0, :], lattices[..., 1, :]
    return np.stack([(a * a).sum(axis=-1), (b * b).sum(axis=-1), 2.0 * (a * b).sum(axis=-1)], axis=-1)


def _square_lengths(fractional: FloatArray, metric: FloatArray) -> FloatArray:
    """Return the squared lengths of in-plane vectors given in fractions of the cell."""
    x, y = fractional[..., 0], fractional[..., 1]
    squares: FloatArray = metric[..., 0] * (x * x) + metric[..., 1] * (y * y) + metric[..., 2] * (x * y)
    return squares


def _compute_angles(lattices: FloatArray) -> FloatArray:
    """Return the angle between the two vectors of each lattice, degrees."""
    a, b = lattices[..., 0, :], lattices[..., 1, :]
    cosine = (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    angles: FloatArray = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return angles
