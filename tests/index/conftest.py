"""An index of forty different layers, and the encoder that made it."""

from pathlib import Path

import pytest

from index.build.build import build_index
from tests.index.layers import document, write_lines
from tests.index.stand_in import RadialEncoder


@pytest.fixture(scope="session")
def encoder() -> RadialEncoder:
    return RadialEncoder()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, encoder: RadialEncoder) -> Path:
    """A read-only index, in which the first six layers occur twice, under other ids."""
    folder = tmp_path_factory.mktemp("index")
    again = [document(i, id=f"again/{i}", source="other", meta={"licence": "MIT"}) for i in range(6)]
    source = write_lines(folder / "layers.jsonl", [*(document(i) for i in range(40)), *again])
    build_index([source], folder / "index", encoder)
    return folder / "index"
