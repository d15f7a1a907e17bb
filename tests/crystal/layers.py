"""Layers with all plane lattices and various symmetries, in a box with the vacuum along c."""

import numpy as np
from numpy.typing import NDArray

Cell = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
NAMES = [
    "graphene",
    "MoS2 1H",
    "MoSSe",
    "FeSe",
    "one column",
    "black phosphorus",
    "1T' distorted",
    "centered",
    "P1",
]


def _boxed(
    a: tuple[float, float], b: tuple[float, float], atoms: list[tuple[int, float, float, float]]
) -> Cell:
    """Cell of in-plane vectors a and b and 24 angstrom of c; atoms are (Z, x, y, height in angstrom)."""
    lattice = np.array([[*a, 0.0], [*b, 0.0], [0.0, 0.0, 24.0]])
    numbers = np.array([atom[0] for atom in atoms])
    frac = np.array([(x, y, 0.5 + z / 24.0) for _, x, y, z in atoms])
    return lattice, numbers, frac


def _hexagonal(a: float, atoms: list[tuple[int, float, float, float]]) -> Cell:
    return _boxed((a, 0.0), (-a / 2, a * np.sqrt(3) / 2), atoms)


def layers() -> dict[str, Cell]:
    """The layers by name."""
    third, two_thirds = 1 / 3, 2 / 3
    rng = np.random.default_rng(7)
    return {
        "graphene": _hexagonal(2.46, [(6, third, two_thirds, 0.0), (6, two_thirds, third, 0.0)]),
        "MoS2 1H": _hexagonal(
            3.18,
            [(42, third, two_thirds, 0.0), (16, two_thirds, third, 1.56), (16, two_thirds, third, -1.56)],
        ),
        "MoSSe": _hexagonal(
            3.25,
            [(42, third, two_thirds, 0.0), (16, two_thirds, third, 1.53), (34, two_thirds, third, -1.70)],
        ),
        "FeSe": _boxed(
            (3.77, 0.0),
            (0.0, 3.77),
            [(26, 0, 0, 0), (26, 0.5, 0.5, 0), (34, 0, 0.5, 1.46), (34, 0.5, 0, -1.46)],
        ),
        "one column": _boxed((3.467, 0.0), (0.0, 3.467), [(13, 0, 0, 1.05), (17, 0, 0, -1.05)]),
        "black phosphorus": _boxed(
            (3.30, 0.0),
            (0.0, 4.62),
            [(15, 0, 0.08, 1.06), (15, 0.5, 0.42, 1.06), (15, 0.5, 0.58, -1.06), (15, 0, 0.92, -1.06)],
        ),
        "1T' distorted": _boxed(
            (3.48, 0.0),
            (0.0, 6.27),
            [
                *[(74, 0, 0.10, 0.07), (74, 0.5, 0.46, -0.07), (52, 0, 0.36, 2.02), (52, 0.5, 0.20, -2.02)],
                *[(52, 0.5, 0.76, 1.38), (52, 0, 0.80, -1.38)],
            ],
        ),
        "centered": _boxed((4.0, 0.0), (-2.0, 3.1), [(30, 0.0, 0.0, 0.0), (8, 0.31, 0.62, 0.4)]),
        "P1": _boxed(
            (5.3, 0.0),
            (-1.1, 6.2),
            [
                (number, i / 2 + 0.15 * rng.random(), j / 3 + 0.1 * rng.random(), 1.5 * rng.random())
                for number, (i, j) in zip((22, 8, 8, 9, 17, 8), np.ndindex(2, 3), strict=True)
            ],
        ),
    }
