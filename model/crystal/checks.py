"""What must hold of the arrays of a crystal; each failure says what is wrong with the structure."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.canonical import LATTICE_TOLERANCE_ANGSTROM
from model.crystal.elements import MAX_ATOMIC_NUMBER, element_symbol
from model.errors import CrystalError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The shortest bond there is, H-H, is 0.74 angstrom; below 0.5 two sites are one atom written twice.
MIN_DISTANCE_ANGSTROM = 0.5


def check_atoms(numbers: IntArray, coordinates: FloatArray) -> None:
    """(N,) numbers of known elements with (N, 3) finite coordinates, at least one; else a CrystalError."""
    if numbers.ndim != 1 or coordinates.shape != (len(numbers), 3):
        raise CrystalError(
            f"{numbers.shape} atomic numbers do not go with coordinates of {coordinates.shape}"
        )
    if not len(numbers):
        raise CrystalError("the structure holds no atoms")
    if not np.isfinite(coordinates).all():
        raise CrystalError("coordinates must be finite numbers; a site has none")
    if numbers.min() < 1 or numbers.max() > MAX_ATOMIC_NUMBER:
        wrong = numbers[(numbers < 1) | (numbers > MAX_ATOMIC_NUMBER)][0]
        raise CrystalError(f"unknown element with atomic number {wrong}: elements run from 1 (H) to 98 (Cf)")


def check_orientation(lattice: FloatArray) -> None:
    """A (2, 2) reduced lattice in standard orientation, within tolerance; else a CrystalError."""
    (ax, ay), (bx, by) = lattice.tolist()
    slack = 2.0 * LATTICE_TOLERANCE_ANGSTROM
    if not (np.isfinite(lattice).all() and abs(ay) < 1e-9 and ax > 0.0 and by > 0.0):
        raise CrystalError("lattice must be finite with a along +x and b_y > 0; use Crystal.from_cell")
    if ax > (bx * bx + by * by) ** 0.5 + slack or abs(bx) > 0.5 * ax + slack:
        raise CrystalError("lattice must be reduced (|a| <= |b|, |a.b| <= |a|^2 / 2); use Crystal.from_cell")


def check_distances(lattice: FloatArray, numbers: IntArray, positions: FloatArray) -> None:
    """No two atoms, images included, closer than `MIN_DISTANCE_ANGSTROM`; else a CrystalError."""
    (ax, _), (bx, by) = lattice.tolist()
    if ax < MIN_DISTANCE_ANGSTROM or by < MIN_DISTANCE_ANGSTROM:
        raise CrystalError(f"overlapping atoms: the cell is only {min(ax, by):.2f} angstrom wide")
    x, y, z = positions.T
    dx, dy, dz = x[:, None] - x, y[:, None] - y, z[:, None] - z
    rows = np.round(dy / by)
    dy -= rows * by
    dx -= rows * bx
    dx -= np.round(dx / ax) * ax
    squares = dx * dx + dy * dy + dz * dz
    squares.flat[:: len(numbers) + 1] = np.inf
    if squares.min() < MIN_DISTANCE_ANGSTROM**2:
        i, j = divmod(int(squares.argmin()), len(numbers))
        raise CrystalError(
            f"overlapping atoms: {element_symbol(int(numbers[i]))} and {element_symbol(int(numbers[j]))} are "
            f"{squares[i, j] ** 0.5:.2f} angstrom apart; remove the one written twice"
        )
