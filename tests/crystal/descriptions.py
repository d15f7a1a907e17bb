"""Other descriptions of the same crystal: shifted, turned, in another cell, in another order."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.crystal.layers import Cell


def in_cell(cell: Cell, lattice: NDArray[np.float64]) -> Cell:
    """The same atoms with other cell vectors of the same lattice."""
    return lattice, cell[1], cell[2] @ cell[0] @ np.linalg.inv(lattice)


def translated(cell: Cell, rng: np.random.Generator) -> Cell:
    return cell[0], cell[1], cell[2] + rng.uniform(-2, 2, 3)


def wrapped(cell: Cell, rng: np.random.Generator) -> Cell:
    """The slab astride the boundary, every coordinate in [0, 1)."""
    return cell[0], cell[1], (cell[2] + [rng.uniform(), rng.uniform(), 0.5]) % 1.0


def turned_in_plane(cell: Cell, rng: np.random.Generator) -> Cell:
    turn = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True).as_matrix()
    return cell[0] @ turn.T, cell[1], cell[2]


def turned_in_space(cell: Cell, rng: np.random.Generator) -> Cell:
    return cell[0] @ Rotation.random(random_state=rng).as_matrix().T, cell[1], cell[2]


def upside_down(cell: Cell, rng: np.random.Generator) -> Cell:
    """Turned by 180 degrees about an axis in the plane, in the cell that it had."""
    angle = rng.uniform(0, np.pi)
    turn = Rotation.from_rotvec(np.pi * np.array([np.cos(angle), np.sin(angle), 0.0])).as_matrix()
    return cell[0] @ turn.T, cell[1], cell[2]


def axes_swapped(cell: Cell, rng: np.random.Generator) -> Cell:
    """Vacuum along another axis; odd permutations make the cell left-handed."""
    order = rng.permutation(3)
    return cell[0][order], cell[1], cell[2][:, order]


def left_handed(cell: Cell, rng: np.random.Generator) -> Cell:
    signs = np.array([1.0, 1.0, -1.0])[rng.permutation(3)]
    return in_cell(cell, cell[0] * signs[:, None])


def plane_rechosen(cell: Cell, rng: np.random.Generator) -> Cell:
    shear = np.eye(3)
    shear[0, 1] = rng.integers(-2, 3)
    other = np.eye(3)
    other[1, 0] = rng.integers(-2, 3)
    return in_cell(cell, shear @ other @ cell[0])


def normal_mixed_in(cell: Cell, rng: np.random.Generator) -> Cell:
    """In-plane vectors that carry a c with them: no cell vector but c is left in the plane."""
    mixed = np.array([[1, 0, 1], [0, 1, rng.integers(0, 2)], [0, 0, 1]])
    return in_cell(cell, mixed @ cell[0])


def c_tilted(cell: Cell, rng: np.random.Generator) -> Cell:
    lattice = cell[0].copy()
    lattice[2, :2] += rng.uniform(-6, 6, 2)
    return in_cell(cell, lattice)


def atoms_reordered(cell: Cell, rng: np.random.Generator) -> Cell:
    order = rng.permutation(len(cell[1]))
    return cell[0], cell[1][order], cell[2][order]


def supercell(cell: Cell, rng: np.random.Generator) -> Cell:
    n, m, shear = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    matrix = np.array([[n, 0, 0], [shear, m, 0], [0, 0, 1]])
    lattice, numbers, frac = in_cell(cell, matrix @ cell[0])
    shifts = [(i, j, 0) @ np.linalg.inv(matrix) for i in range(n) for j in range(m)]
    return lattice, np.tile(numbers, len(shifts)), np.concatenate([frac + shift for shift in shifts])


# In an order in which they may follow each other: c is tilted while the slab is whole, and the last three
# take the plane out of x and y or out of the first two axes.
CHANGES: list[Callable[[Cell, np.random.Generator], Cell]] = [
    translated,
    c_tilted,
    wrapped,
    turned_in_plane,
    upside_down,
    left_handed,
    plane_rechosen,
    supercell,
    atoms_reordered,
    turned_in_space,
    axes_swapped,
    normal_mixed_in,
]
