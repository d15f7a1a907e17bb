"""Three layers that everyone knows, in canonical orientation, and loose gatherings of atoms for properties."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.crystal import Crystal

Array = NDArray[np.float64]


def layer(
    name: str, lattice: Array, numbers: list[int], fractional_xy: list[list[float]], z: list[float]
) -> Crystal:
    xy = np.array(fractional_xy) % 1 @ lattice
    return Crystal(name, "test", lattice, np.array(numbers), np.column_stack([xy, z]))


def hexagonal(a: float) -> Array:
    return a * np.array([[1, 0], [-1 / 2, np.sqrt(3) / 2]])


@pytest.fixture(scope="session")
def graphene() -> Crystal:
    return layer("graphene", hexagonal(2.461), [6, 6], [[1 / 3, 2 / 3], [2 / 3, 1 / 3]], [0, 0])


@pytest.fixture(scope="session")
def mos2() -> Crystal:
    sites = [[1 / 3, 2 / 3], [2 / 3, 1 / 3], [2 / 3, 1 / 3]]
    return layer("MoS2", hexagonal(3.16), [42, 16, 16], sites, [0, 1.56, -1.56])


@pytest.fixture(scope="session")
def black_phosphorus() -> Crystal:
    lattice = np.diag([3.3133, 4.374])
    sites = [[0, 0.0806], [0, -0.0806], [0.5, 0.4194], [0.5, 0.5806]]
    return layer("P", lattice, [15] * 4, sites, [1.065, -1.065, 1.065, -1.065])


@pytest.fixture(scope="session")
def janus() -> Crystal:
    """MoSSe: no centre, no two-fold axis, two different faces."""
    sites = [[1 / 3, 2 / 3], [2 / 3, 1 / 3], [2 / 3, 1 / 3]]
    return layer("MoSSe", hexagonal(3.25), [42, 16, 34], sites, [0, 1.53, -1.70])


@pytest.fixture(params=["graphene", "mos2", "black_phosphorus", "janus"])
def crystal(request: pytest.FixtureRequest) -> Crystal:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Crystal)
    return found
