"""Settings of the property tests: no time limit, and on CI the same examples at every run; two indexes to swap."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")


@pytest.fixture(scope="session")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Of 6 and of 9 crystals, by that number; not to be written to."""
    from tests.index.two_indexes import build_two

    return build_two(tmp_path_factory.mktemp("indexes"))


@pytest.fixture
def served(tmp_path: Path, indexes: dict[int, Path]) -> Path:
    """A folder in which the small one is published."""
    from index.storage.publish import publish_copy
    from tests.index.two_indexes import SMALL

    publish_copy(indexes[SMALL], tmp_path / "served")
    return tmp_path / "served"
