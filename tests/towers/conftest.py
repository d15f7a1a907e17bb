"""Untrained towers and the layers that they embed."""

import pytest

from model.crystal import Crystal
from model.towers.encoder import Towers
from tests.crystal.layers import layers
from tests.towers.networks import untrained


@pytest.fixture(scope="session", params=["physics", "sequence"])
def towers(request: pytest.FixtureRequest) -> Towers:
    return untrained(request.param)


@pytest.fixture(scope="session")
def crystals() -> list[Crystal]:
    return [Crystal.from_cell(*cell, id=name, source="test") for name, cell in layers().items()]
