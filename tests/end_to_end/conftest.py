"""The service as shipped, with its own weights and the starter index."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from index.build.build import build_index
from model.towers.checkpoint import load_towers


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starter") / "index"
    build_index([Path("starter")], folder, load_towers(), workers=0)
    return folder


@pytest.fixture(scope="session")
def client(starter: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(index=starter))) as client:
        yield client
