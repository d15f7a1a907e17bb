"""Well-known layers as fixtures, one by one and as a parameter."""

import pytest

from model.crystal.crystal import Crystal
from tests.physics.layers import BLACK_PHOSPHORUS, GRAPHENE, JANUS, MOS2


@pytest.fixture(scope="session")
def graphene() -> Crystal:
    return GRAPHENE


@pytest.fixture(scope="session")
def mos2() -> Crystal:
    return MOS2


@pytest.fixture(scope="session")
def black_phosphorus() -> Crystal:
    return BLACK_PHOSPHORUS


@pytest.fixture(scope="session")
def janus() -> Crystal:
    return JANUS


@pytest.fixture(params=["graphene", "mos2", "black_phosphorus", "janus"])
def crystal(request: pytest.FixtureRequest) -> Crystal:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Crystal)
    return found
