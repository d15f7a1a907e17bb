"""The service with the stand-in library, in this process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.auth.api_keys import create_key
from app.auth.key_file import update_key_file
from app.http.bounded_protocol import server_options
from app.main import create_app
from app.services.search_index import SearchIndex
from app.settings import Settings
from model.physics.kinematic import compute_kinematic_spots
from tests.app.stand_in import StandIn, make_crystal


@pytest.fixture
def library() -> StandIn:
    return StandIn()


@pytest.fixture
def client(library: StandIn) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), library), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def points() -> list[list[float]]:
    """Return the points of graphene in 1/angstrom."""
    spots = compute_kinematic_spots(make_crystal("C", 2.46, "graphene"))
    assert spots.intensity is not None
    return [[*q, i] for q, i in zip(spots.q_inv_angstrom.tolist(), spots.intensity.tolist(), strict=True)]


@pytest.fixture(scope="session")
def point_file(points: list[list[float]]) -> bytes:
    return json.dumps({"points": points, "units": "1/angstrom"}).encode()


@contextmanager
def client_with_key(library: SearchIndex, folder: Path) -> Iterator[TestClient]:
    """Yield a client that has the key of an administrator, named robot."""
    keys = folder / "keys.jsonl"
    key, secret = create_key("robot", "admin")
    update_key_file(keys, lambda _: (key,))
    app = create_app(Settings(keys=keys), library)
    headers = {"Authorization": f"Bearer {secret}"}
    with TestClient(app, raise_server_exceptions=False, headers=headers) as client:
        yield client


@contextmanager
def run_server(app: FastAPI) -> Iterator[int]:
    """Run a server for an application in a thread and yield its port."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, *args: Any, **kwargs: Any) -> None:
            await super().startup(*args, **kwargs)
            started.set()

    server = Server(uvicorn.Config(app, port=0, log_config=None, **server_options(app)))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(20)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:  # also after a failed test
        server.should_exit = True
        thread.join()


@pytest.fixture
def address(library: StandIn) -> Iterator[str]:
    """Yield the URL of a service with the stand-in library."""
    with run_server(create_app(Settings(), library)) as port:
        yield f"http://127.0.0.1:{port}"
