"""Untrained and shipped towers, and layers to embed."""

import pytest

from model.crystal.crystal import Crystal
from model.towers.checkpoint import load_towers
from model.towers.encoder import Towers
from tests.crystal.layers import layers
from tests.towers.networks import untrained


@pytest.fixture(scope="session", params=["physics", "sequence", "shipped"])
def towers(request: pytest.FixtureRequest) -> Towers:
    return load_towers() if request.param == "shipped" else untrained(request.param)


@pytest.fixture(scope="session")
def crystals() -> list[Crystal]:
    return [Crystal.from_cell(*cell, id=name, source="test") for name, cell in layers().items()]
