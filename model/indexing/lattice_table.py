"""Which crystals of a library can have the lattice of a pattern, whatever the towers think of them.

Lattices are compared by the cotangents of the angles of their obtuse superbase, -(v_i . v_j) / area (Selling's
parameters over the area): three numbers that change little when the lattice does, whatever basis describes it; a
reduced cell jumps between descriptions where two are equally short. Axes: C crystals, R sublattices.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.indexing.orientations import DISTORTION_TOLERANCE
from model.physics.reciprocal import reciprocal_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Extinctions and faint superlattices leave every fourth point of a crystal's lattice, or more.
LARGEST_INDEX = 4


def sublattices(indices: Iterable[int]) -> FloatArray:
    """(R, 2, 2) Hermite normal forms: each sublattice of these indices once."""
    return np.array(
        [
            [[d, shift], [0, index // d]]
            for index in indices
            for d in range(1, index + 1)
            if index % d == 0
            for shift in range(index // d)
        ],
        dtype=np.float64,
    )


@dataclass(frozen=True)
class LatticeMatches:
    """Crystals that a lattice fits, one row for each of their sublattices that does.

    Attributes:
        crystal: (K,) their rows.
        scale: (K,) measured over computed lengths in reciprocal space.
    """

    crystal: IntArray
    scale: FloatArray


@dataclass(frozen=True)
class LatticeTable:
    """The reciprocal lattices of crystals with their sublattices, K in all, by ascending area.

    Attributes:
        log_area: (K,) ln of the cells' areas, 1/angstrom^2.
        cotangents: (K, 3) of the superbase, ascending.
        crystal: (K,) whose each is.
        more: a table of further crystals, if there are any.
    """

    log_area: FloatArray
    cotangents: FloatArray
    crystal: IntArray
    more: "LatticeTable | None" = None

    @classmethod
    def from_cells(cls, lattices: FloatArray, largest_index: int = LARGEST_INDEX) -> Self:
        """Of (C, 2, 2) cells, rows a and b, angstrom, with their sublattices up to an index; 1 has none."""
        bases = reciprocal_lattice(lattices)
        parts = sublattices(range(1, largest_index + 1))
        area, cotangents = _invariants(parts @ bases[:, None])
        order = np.argsort(area, axis=None, kind="stable")
        return cls(np.log(area).ravel()[order], cotangents.reshape(-1, 3)[order], order // len(parts))

    def extend(self, lattices: FloatArray, first: int) -> "LatticeTable":
        """This table and more cells, (M, 2, 2), whose crystals are counted from `first`; nothing is copied."""
        more = LatticeTable.from_cells(lattices)
        return replace(self, more=replace(more, crystal=more.crystal + first))

    def find_matches(self, basis: FloatArray, scale_tolerance: float = np.inf) -> LatticeMatches:
        """The crystals of which a reciprocal lattice, (2, 2) rows, may be the one that is seen.

        Args:
            basis: of the pattern.
            scale_tolerance: how far the scale may be from 1, as a logarithm; infinite where it is unknown.
        """
        area, cotangents = _invariants(basis[None])
        log_area = float(np.log(area[0]))
        ends = [log_area - 2 * scale_tolerance, log_area + 2 * scale_tolerance]
        near = slice(*np.searchsorted(self.log_area, ends).tolist())
        off = np.abs(self.cotangents[near] - cotangents[0]).max(axis=1)
        # The two largest add up to the square of the longest vector of the superbase over the area.
        alike = off < 2 * DISTORTION_TOLERANCE * cotangents[0, 1:].sum()
        scale = np.exp((log_area - self.log_area[near][alike]) / 2)
        found = LatticeMatches(self.crystal[near][alike], scale)
        if self.more is None:
            return found
        others = self.more.find_matches(basis, scale_tolerance)
        return LatticeMatches(
            np.concatenate([found.crystal, others.crystal]), np.concatenate([found.scale, others.scale])
        )


def _invariants(bases: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Areas (...) and cotangents (..., 3), ascending, of lattices (..., 2, 2)."""
    first, second = bases[..., 0, :], bases[..., 1, :]
    third = -first - second
    parameters = -np.stack(
        [(x * y).sum(axis=-1) for x, y in ((first, second), (second, third), (third, first))], axis=-1
    )
    parameters.sort(axis=-1)
    # Selling: while one is negative, change its sign and add it twice to the others.
    while (parameters[..., 0] < -1e-12).any():
        negative = np.minimum(parameters[..., :1], 0)
        parameters = parameters + negative * np.array([-2.0, 2.0, 2.0])
        parameters.sort(axis=-1)
    area = np.abs(np.linalg.det(bases))
    return area, parameters / area[..., None]
