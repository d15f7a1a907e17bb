"""Well-known layers in canonical orientation."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal

Array = NDArray[np.float64]


def layer(
    name: str, lattice: Array, numbers: list[int], fractional_xy: list[list[float]], z: list[float]
) -> Crystal:
    xy = np.array(fractional_xy) % 1 @ lattice
    return Crystal(name, "test", lattice, np.array(numbers), np.column_stack([xy, z]))


def hexagonal(a: float) -> Array:
    return a * np.array([[1, 0], [-1 / 2, np.sqrt(3) / 2]])


PRISMATIC = [[1 / 3, 2 / 3], [2 / 3, 1 / 3], [2 / 3, 1 / 3]]
GRAPHENE = layer("graphene", hexagonal(2.461), [6, 6], [[1 / 3, 2 / 3], [2 / 3, 1 / 3]], [0, 0])
MOS2 = layer("MoS2", hexagonal(3.16), [42, 16, 16], PRISMATIC, [0, 1.56, -1.56])
BLACK_PHOSPHORUS = layer(
    "P",
    np.diag([3.3133, 4.374]),
    [15] * 4,
    [[0, 0.0806], [0, -0.0806], [0.5, 0.4194], [0.5, 0.5806]],
    [1.065, -1.065, 1.065, -1.065],
)
# MoSSe: no center, no two-fold axis, two different faces.
JANUS = layer("MoSSe", hexagonal(3.25), [42, 16, 34], PRISMATIC, [0, 1.53, -1.70])
