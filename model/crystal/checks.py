"""Checks of the arrays of a crystal. Each error states what is wrong with the structure."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.canonical import LATTICE_TOLERANCE_ANGSTROM
from model.crystal.elements import MAX_ATOMIC_NUMBER, element_symbol
from model.errors import CrystalError, TooLargeError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The shortest bond, H-H, measures 0.74 angstrom. Sites closer than 0.5 are one atom listed twice.
MIN_DISTANCE_ANGSTROM = 0.5
MAX_SITES = 500
"""Atoms in a cell of an upload; the largest cell of the databases has 80."""


def check_site_count(count: int) -> None:
    """Raise a TooLargeError for a cell of more than `MAX_SITES` atoms."""
    if count > MAX_SITES:
        raise TooLargeError(f"The cell has {count} atoms; the limit is {MAX_SITES}. Give a smaller cell.")


def check_atoms(numbers: IntArray, coordinates: FloatArray) -> None:
    """Check that there is at least one atom, with known elements (N,) and finite coordinates (N, 3).

    Raises:
        CrystalError: the check fails.
    """
    if numbers.ndim != 1 or coordinates.shape != (len(numbers), 3):
        raise CrystalError(
            f"The shape of the atomic numbers, {numbers.shape}, does not match the coordinates, {coordinates.shape}."
        )
    if not len(numbers):
        raise CrystalError("The structure contains no atoms.")
    if not np.isfinite(coordinates).all():
        raise CrystalError("The coordinates of a site are not finite numbers.")
    if numbers.min() < 1 or numbers.max() > MAX_ATOMIC_NUMBER:
        wrong = numbers[(numbers < 1) | (numbers > MAX_ATOMIC_NUMBER)][0]
        raise CrystalError(
            f"Unknown element with atomic number {wrong}; elements from 1 (H) to 98 (Cf) are supported."
        )


def check_orientation(lattice: FloatArray) -> None:
    """Check that a (2, 2) lattice is reduced and in standard orientation, within tolerance.

    Raises:
        CrystalError: the check fails.
    """
    (ax, ay), (bx, by) = lattice.tolist()
    slack = 2.0 * LATTICE_TOLERANCE_ANGSTROM
    if not (np.isfinite(lattice).all() and abs(ay) < 1e-9 and ax > 0.0 and by > 0.0):
        raise CrystalError("The lattice must be finite with a along +x and b_y > 0; use Crystal.from_cell.")
    if ax > (bx * bx + by * by) ** 0.5 + slack or abs(bx) > 0.5 * ax + slack:
        raise CrystalError(
            "The lattice must be reduced (|a| <= |b|, |a.b| <= |a|^2 / 2); use Crystal.from_cell."
        )


def check_distances(lattice: FloatArray, numbers: IntArray, positions: FloatArray) -> None:
    """Raise CrystalError if two atoms, periodic images included, are closer than `MIN_DISTANCE_ANGSTROM`."""
    (ax, _), (bx, by) = lattice.tolist()
    if ax < MIN_DISTANCE_ANGSTROM or by < MIN_DISTANCE_ANGSTROM:
        raise CrystalError(f"Overlapping atoms: the cell is only {min(ax, by):.2f} angstrom wide.")
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
            f"Overlapping atoms: {element_symbol(int(numbers[i]))} and {element_symbol(int(numbers[j]))} are "
            f"{squares[i, j] ** 0.5:.2f} angstrom apart; list each atom once."
        )
