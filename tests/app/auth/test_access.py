"""Authentication, authorization and rate limits over HTTP, with and without keys."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient

from app.auth.access import Access, require_role
from app.auth.api_keys import ROLES, Role, create_key
from app.auth.key_file import update_key_file
from app.main import create_app
from app.settings import Settings
from tests.app.answers import problem_of
from tests.app.stand_in import StandIn

OPEN = ("/livez", "/readyz", "/version", "/", "/docs", "/openapi.json", "/static/style.css")
UPLOAD_PATHS = ("/predict", "/predict/batch", "/inspect", "/compare")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture
def secrets(keys: Path) -> dict[str, str]:
    made = {role: create_key(role, role) for role in ROLES}
    update_key_file(keys, lambda _: tuple(key for key, _ in made.values()))
    return {role: secret for role, (_, secret) in made.items()}


def app_with_role_routes(settings: Settings) -> FastAPI:
    """Return the service with one more route per role, which answers with the name of the key."""
    app = create_app(settings, StandIn())

    def add_route(role: Role) -> None:
        async def answer_key_name(request: Request) -> dict[str, Any]:
            return {"key": request.state.key_name}

        app.add_api_route(
            f"/for/{role}",
            answer_key_name,
            methods=["GET", "POST"],
            dependencies=[require_role(role)],
            include_in_schema=False,
        )

    for role in ROLES:
        add_route(role)
    return app


@pytest.fixture
def client(keys: Path, secrets: dict[str, str]) -> Iterator[TestClient]:
    assert secrets
    with TestClient(app_with_role_routes(Settings(keys=keys))) as client:
        yield client


@pytest.fixture
def keyless() -> Iterator[TestClient]:
    with TestClient(app_with_role_routes(Settings())) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("path", OPEN)
def test_public_paths_need_no_key(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_request_without_a_key_gets_a_401_with_a_challenge(client: TestClient) -> None:
    for path in (
        "/structures/graphene",
        "/structures/a/b/c",
        "/overlays/a/1",
        "/metrics",
        "/for/read",
        "/for/admin",
    ):
        response = client.get(path)
        assert "Authorization: Bearer" in problem_of(response, 401)
        assert response.headers["www-authenticate"] == 'Bearer realm="dd2d"'


@pytest.mark.parametrize("given", ["nonsense", "dd2d_" + "a" * 43, "ü"])
def test_an_unknown_key_gets_a_401(client: TestClient, given: str) -> None:
    response = client.get("/for/read", headers=[(b"authorization", b"Bearer " + given.encode())])
    assert given not in problem_of(response, 401)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_a_key_is_admitted_where_its_role_suffices(client: TestClient, secrets: dict[str, str]) -> None:
    for mine, secret in secrets.items():
        for needed in ROLES:
            response = client.get(f"/for/{needed}", headers=bearer(secret))
            if ROLES.index(needed) <= ROLES.index(mine):
                assert response.json() == {"key": mine}
            else:
                assert f"role {needed}" in problem_of(response, 403)
                assert f'scope="{needed}"' in response.headers["www-authenticate"]


def test_the_key_may_come_in_either_header(client: TestClient, secrets: dict[str, str], points: Any) -> None:
    for headers in (
        bearer(secrets["read"]),
        {"Authorization": f"bearer {secrets['read']}"},
        {"X-API-Key": secrets["read"]},
        {"X-API-Key": secrets["read"], "Authorization": "Basic cHJveHk6cGFzc3dvcmQ="},
    ):
        assert client.post("/predict", json={"points": points}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", UPLOAD_PATHS)
def test_a_missing_key_is_refused_before_the_body_is_read(client: TestClient, path: str) -> None:
    received = 0

    async def request_without_key() -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            nonlocal received
            received += 1
            return {"type": "http.request", "body": b"[", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
                 "headers": [(b"content-type", b"application/json")], "client": ("192.0.2.1", 1), "server": ("a", 1),
                 "scheme": "http", "http_version": "1.1", "root_path": ""}  # fmt: skip
        await client.app(scope, receive, send)
        assert sent[0]["status"] == 401

    assert client.portal is not None
    client.portal.call(request_without_key)
    assert received == 0


def test_every_route_is_guarded_or_listed_as_public() -> None:
    """A new route without an access check fails here."""
    paths = {
        (method.upper(), path)
        for path, operations in create_app(Settings()).openapi()["paths"].items()
        for method, operation in operations.items()
        if not operation.get("security")
    }
    assert paths == {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/version")}


def test_a_revoked_key_stops_working(
    client: TestClient, keys: Path, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/for/read", headers=bearer(secrets["read"])).status_code == 200
    monkeypatch.setattr("app.auth.keyring.CHECK_INTERVAL_S", 0)
    update_key_file(keys, lambda keys: tuple(key for key in keys if key.name != "read"))
    problem_of(client.get("/for/read", headers=bearer(secrets["read"])), 401)
    assert client.get("/for/read", headers=bearer(secrets["admin"])).status_code == 200


def test_without_keys_reading_is_open_and_a_refused_write_says_how_to_enable_it(keyless: TestClient) -> None:
    for path in (*OPEN, "/metrics", "/structures/graphene"):
        assert keyless.get(path).status_code == 200
    assert keyless.get("/for/read", headers=bearer("whatever")).json() == {"key": None}
    for role in ("write", "admin"):
        detail = problem_of(keyless.post(f"/for/{role}"), 403)
        assert f"dd2d key create NAME --role {role} --keys FILE" in detail
        assert "DD2D_KEYS" in detail


@pytest.mark.parametrize(
    ("host", "reach"),
    [("127.0.0.1", "this machine"), ("::1", "this machine"), ("0.0.0.0", "EVERYONE WHO CAN REACH")],
)
def test_the_log_warns_that_there_are_no_keys(
    host: str, reach: str, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(Settings(host=host), StandIn())):
        pass
    (line,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert line.getMessage().startswith("NO API KEYS: ")
    assert reach in line.getMessage()


def test_the_log_does_not_warn_when_there_are_keys(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/livez").status_code == 200
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_the_access_log_names_the_key(
    client: TestClient, secrets: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app"):
        client.get("/for/read", headers=bearer(secrets["admin"]))
        assert "key admin" in caplog.records[-1].getMessage()
        client.get("/for/admin", headers=bearer(secrets["read"]))
        assert " 403 in " in caplog.records[-1].getMessage()
        assert "key read" in caplog.records[-1].getMessage()
        client.get("/for/read", headers=bearer("dd2d_" + "a" * 43))
        assert "key -" in caplog.records[-1].getMessage()
    assert "dd2d_" not in caplog.text


def test_each_key_has_a_rate_limit_of_its_own(keys: Path, secrets: dict[str, str]) -> None:
    settings = Settings(keys=keys, rate_per_minute=0.1, rate_burst=2)
    with TestClient(app_with_role_routes(settings)) as client:
        for _ in range(2):
            assert client.get("/for/read", headers=bearer(secrets["read"])).status_code == 200
        response = client.get("/for/read", headers=bearer(secrets["read"]))
        assert "DD2D_RATE_PER_MINUTE" in problem_of(response, 429)
        assert 590 <= int(response.headers["retry-after"]) <= 600
        assert client.get("/for/read", headers=bearer(secrets["write"])).status_code == 200
        assert client.get("/metrics", headers=bearer(secrets["read"])).status_code == 200
        assert client.get("/livez").status_code == 200


def test_without_keys_the_rate_limit_counts_addresses_and_ignores_forwarded_ones() -> None:
    with TestClient(app_with_role_routes(Settings(rate_per_minute=0.1, rate_burst=1))) as client:
        assert client.get("/for/read").status_code == 200
        problem_of(client.get("/for/read", headers={"X-Forwarded-For": "192.0.2.9"}), 429)


def test_invalid_keys_are_limited_and_a_valid_key_still_passes(
    client: TestClient, secrets: dict[str, str]
) -> None:
    statuses = [client.get("/for/read", headers=bearer("dd2d_" + f"{n:043d}")).status_code for n in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    assert client.get("/for/read", headers=bearer(secrets["read"])).status_code == 200
    problem_of(client.get("/for/read"), 401)


def test_the_default_settings_limit_nothing() -> None:
    access = Access.from_settings(Settings())
    assert access.keyring is None
    for _ in range(1000):
        access.authorize(access.authenticate(None, "192.0.2.1"), "read", "192.0.2.1")


def test_an_expired_key_gets_a_401_that_says_so(keys: Path) -> None:
    key, secret = create_key("old", "admin", datetime(2020, 1, 1, tzinfo=UTC))
    update_key_file(keys, lambda _: (key,))
    with TestClient(app_with_role_routes(Settings(keys=keys))) as client:
        response = client.get("/for/read", headers=bearer(secret))
        assert "expired" in problem_of(response, 401)
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
