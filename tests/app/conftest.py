"""The service on the stand-in, asked in-process."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from model.physics.kinematic import kinematic_spots
from tests.app.stand_in import StandIn, made


@pytest.fixture
def library() -> StandIn:
    return StandIn()


@pytest.fixture
def client(library: StandIn) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), library), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def points() -> list[list[float]]:
    """Graphene, 1/angstrom."""
    spots = kinematic_spots(made("C", 2.46, "graphene"))
    assert spots.intensity is not None
    return [[*q, i] for q, i in zip(spots.q_inv_angstrom.tolist(), spots.intensity.tolist(), strict=True)]


@pytest.fixture(scope="session")
def point_file(points: list[list[float]]) -> bytes:
    return json.dumps({"points": points, "units": "1/angstrom"}).encode()
