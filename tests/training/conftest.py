"""Twenty-four layers as a data set, with a small pool of patterns."""

import pytest

from model.crystal.crystal import Crystal
from model.training.dataset import Dataset
from tests.index.layers import crystal


@pytest.fixture(scope="session")
def crystals() -> list[Crystal]:
    return [crystal(i) for i in range(24)]


@pytest.fixture(scope="session")
def dataset(crystals: list[Crystal], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("cache")
    return Dataset.build(crystals, draws=3, seed=0, held_out=(), cache=cache)
