"""The layers that tests of the crystal share."""

import pytest

from tests.crystal.layers import Cell, layers


@pytest.fixture(scope="session")
def cells() -> dict[str, Cell]:
    return layers()
