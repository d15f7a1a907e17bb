"""Find the crystals of a library that can have the lattice of a pattern.

Lattices are compared by the cotangents of the angles of their obtuse superbase, -(v_i . v_j) / area (Selling's
parameters over the area; J. reine angew. Math. 77, 143, 1874). These three numbers change little when the lattice does,
whatever basis describes it; a reduced cell jumps between descriptions where two are equally short. Axes: C crystals, R
sublattices, K rows of a table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.physics.reciprocal import reciprocal_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DISTORTION_TOLERANCE = 0.03
"""Largest ratio of the axes of a circle's image, less 1."""

MAX_INDEX = 4
"""Largest index of a sublattice: extinctions and faint superlattices leave a quarter of the lattice, or more."""


def list_sublattices(indices: Iterable[int]) -> FloatArray:
    """Return the Hermite normal forms (R, 2, 2) of all sublattices of these indices, each once."""
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
    """Crystals that can have a lattice, one row for each of their sublattices that fits it.

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
        log_area: (K,) ln of the areas of the cells, 1/angstrom^2.
        cotangents: (K, 3) of the superbase, ascending.
        crystal: (K,) row of the crystal.
        extension: a table of further crystals, if there are any.
    """

    log_area: FloatArray
    cotangents: FloatArray
    crystal: IntArray
    extension: "LatticeTable | None" = None

    @classmethod
    def from_cells(cls, lattices: FloatArray, max_index: int = MAX_INDEX) -> Self:
        """Return the table of cells with their sublattices.

        Args:
            lattices: (C, 2, 2) rows a and b, angstrom.
            max_index: largest index of the sublattices; 1 is the lattice itself.
        """
        bases = reciprocal_lattice(lattices)
        sublattices = list_sublattices(range(1, max_index + 1))
        area, cotangents = _compute_invariants(sublattices @ bases[:, None])
        order = np.argsort(area, axis=None, kind="stable")
        log_area = np.log(area).ravel()[order]
        return cls(log_area, cotangents.reshape(-1, 3)[order], order // len(sublattices))

    def extend(self, lattices: FloatArray, first: int) -> "LatticeTable":
        """Return this table with more cells, (M, 2, 2), whose crystals are numbered from `first`; nothing is copied."""
        more = LatticeTable.from_cells(lattices)
        return replace(self, extension=replace(more, crystal=more.crystal + first))

    def list_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns, and those of the extension, by what they are called in messages."""
        columns = {"cell areas": self.log_area, "cell shapes": self.cotangents, "cell numbers": self.crystal}
        further = {} if self.extension is None else self.extension.list_arrays()
        return columns | {f"further {name}": array for name, array in further.items()}

    def find_matches(self, basis: FloatArray, scale_tolerance: float = np.inf) -> LatticeMatches:
        """Find the crystals whose lattice, or a sublattice of it, is the one that a pattern shows.

        Args:
            basis: (2, 2) rows a* and b* of the pattern, 1/angstrom.
            scale_tolerance: largest deviation of ln of the scale from 0; infinite where the scale is unknown.
        """
        area, cotangents = _compute_invariants(basis[None])
        log_area = float(np.log(area[0]))
        ends = [log_area - 2 * scale_tolerance, log_area + 2 * scale_tolerance]
        near = slice(*np.searchsorted(self.log_area, ends).tolist())
        off = np.abs(self.cotangents[near] - cotangents[0]).max(axis=1)
        # The two largest add up to the square of the longest vector of the superbase over the area.
        fits = off < 2 * DISTORTION_TOLERANCE * cotangents[0, 1:].sum()
        scale = np.exp((log_area - self.log_area[near][fits]) / 2)
        matches = LatticeMatches(self.crystal[near][fits], scale)
        if self.extension is None:
            return matches
        others = self.extension.find_matches(basis, scale_tolerance)
        return LatticeMatches(
            np.concatenate([matches.crystal, others.crystal]), np.concatenate([matches.scale, others.scale])
        )


def _compute_invariants(bases: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the areas (...) and the cotangents (..., 3), ascending, of lattices (..., 2, 2)."""
    first, second = bases[..., 0, :], bases[..., 1, :]
    third = -first - second
    parameters = -np.stack(
        [(x * y).sum(axis=-1) for x, y in ((first, second), (second, third), (third, first))], axis=-1
    )
    parameters.sort(axis=-1)
    # Selling's reduction: while one is negative, change its sign and add it twice to the others.
    while (parameters[..., 0] < -1e-12).any():
        negative = np.minimum(parameters[..., :1], 0)
        parameters = parameters + negative * np.array([-2.0, 2.0, 2.0])
        parameters.sort(axis=-1)
    area = np.abs(np.linalg.det(bases))
    return area, parameters / area[..., None]
