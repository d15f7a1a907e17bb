"""Who is let in over HTTP, with keys and without, and how often."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient

from app.auth.access import Access, needs
from app.auth.api_keys import ROLES, Role, made_key
from app.auth.key_file import change_key_file
from app.main import create_app
from app.settings import Settings
from tests.app.answers import problem_of
from tests.app.stand_in import StandIn

OPEN = ("/livez", "/readyz", "/version", "/", "/docs", "/openapi.json", "/static/style.css")
ASKED = ("/predict", "/predict/batch", "/inspect", "/compare")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture
def secrets(keys: Path) -> dict[str, str]:
    made = {role: made_key(role, role) for role in ROLES}
    change_key_file(keys, lambda _: tuple(key for key, _ in made.values()))
    return {role: secret for role, (_, secret) in made.items()}


def guarded(settings: Settings) -> FastAPI:
    """The service, and a route for each role that answers with the name of the key."""
    app = create_app(settings, StandIn())

    def add(role: Role) -> None:
        async def named(request: Request) -> dict[str, Any]:
            return {"key": request.state.key_name}

        app.add_api_route(
            f"/for/{role}",
            named,
            methods=["GET", "POST"],
            dependencies=[needs(role)],
            include_in_schema=False,
        )

    for role in ROLES:
        add(role)
    return app


@pytest.fixture
def client(keys: Path, secrets: dict[str, str]) -> Iterator[TestClient]:
    assert secrets
    with TestClient(guarded(Settings(keys=keys))) as client:
        yield client


@pytest.fixture
def keyless() -> Iterator[TestClient]:
    with TestClient(guarded(Settings())) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("path", OPEN)
def test_what_is_always_open(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_without_a_key_is_401_by_the_book(client: TestClient) -> None:
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
def test_an_unknown_key_is_401(client: TestClient, given: str) -> None:
    response = client.get("/for/read", headers=[(b"authorization", b"Bearer " + given.encode())])
    assert given not in problem_of(response, 401)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_a_role_opens_what_it_may(client: TestClient, secrets: dict[str, str]) -> None:
    for mine, secret in secrets.items():
        for needed in ROLES:
            response = client.get(f"/for/{needed}", headers=bearer(secret))
            if ROLES.index(needed) <= ROLES.index(mine):
                assert response.json() == {"key": mine}
            else:
                assert f"role {needed}" in problem_of(response, 403)
                assert f'scope="{needed}"' in response.headers["www-authenticate"]


def test_either_header_will_do(client: TestClient, secrets: dict[str, str], points: Any) -> None:
    for headers in (
        bearer(secrets["read"]),
        {"Authorization": f"bearer {secrets['read']}"},
        {"X-API-Key": secrets["read"]},
        {"X-API-Key": secrets["read"], "Authorization": "Basic cHJveHk6cGFzc3dvcmQ="},
    ):
        assert client.post("/predict", json={"points": points}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ASKED)
def test_a_key_is_asked_for_before_the_body_is_read(client: TestClient, path: str) -> None:
    taken = 0

    async def reading() -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            nonlocal taken
            taken += 1
            return {"type": "http.request", "body": b"[", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
                 "headers": [(b"content-type", b"application/json")], "client": ("192.0.2.1", 1), "server": ("a", 1),
                 "scheme": "http", "http_version": "1.1", "root_path": ""}  # fmt: skip
        await client.app(scope, receive, send)
        assert sent[0]["status"] == 401

    assert client.portal is not None
    client.portal.call(reading)
    assert taken == 0


def test_every_route_is_open_on_purpose_or_guarded() -> None:
    """A new route that forgets its key is noticed here."""
    paths = {
        (method.upper(), path)
        for path, operations in create_app(Settings()).openapi()["paths"].items()
        for method, operation in operations.items()
        if not operation.get("security")
    }
    assert paths == {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/version")}


def test_a_key_that_is_revoked_stops_working(
    client: TestClient, keys: Path, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/for/read", headers=bearer(secrets["read"])).status_code == 200
    monkeypatch.setattr("app.auth.keyring.LOOK_AGAIN_S", 0)
    change_key_file(keys, lambda there: tuple(key for key in there if key.name != "read"))
    problem_of(client.get("/for/read", headers=bearer(secrets["read"])), 401)
    assert client.get("/for/read", headers=bearer(secrets["admin"])).status_code == 200


def test_without_keys_reading_is_open_and_writing_says_how_to_open_it(keyless: TestClient) -> None:
    for path in (*OPEN, "/metrics", "/structures/graphene"):
        assert keyless.get(path).status_code == 200
    assert keyless.get("/for/read", headers=bearer("whatever")).json() == {"key": None}
    for role in ("write", "admin"):
        told = problem_of(keyless.post(f"/for/{role}"), 403)
        assert f"dd2d key create NAME --role {role} --keys FILE" in told
        assert "DD2D_KEYS" in told


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", "this machine"), ("::1", "this machine"), ("0.0.0.0", "EVERYBODY WHO CAN REACH")],
)
def test_the_log_says_loudly_that_there_are_no_keys(
    host: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(Settings(host=host), StandIn())):
        pass
    (line,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert line.getMessage().startswith("NO API KEYS: ")
    assert told in line.getMessage()


def test_the_log_is_quiet_about_keys_that_are_there(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/livez").status_code == 200
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_the_name_of_the_key_is_in_the_log(
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


def test_a_key_is_limited_and_another_is_not(keys: Path, secrets: dict[str, str]) -> None:
    settings = Settings(keys=keys, rate_per_minute=0.1, rate_burst=2)
    with TestClient(guarded(settings)) as client:
        for _ in range(2):
            assert client.get("/for/read", headers=bearer(secrets["read"])).status_code == 200
        response = client.get("/for/read", headers=bearer(secrets["read"]))
        assert "DD2D_RATE_PER_MINUTE" in problem_of(response, 429)
        assert 590 <= int(response.headers["retry-after"]) <= 600
        assert client.get("/for/read", headers=bearer(secrets["write"])).status_code == 200
        assert client.get("/metrics", headers=bearer(secrets["read"])).status_code == 200
        assert client.get("/livez").status_code == 200


def test_without_keys_an_address_is_limited_whatever_it_claims() -> None:
    with TestClient(guarded(Settings(rate_per_minute=0.1, rate_burst=1))) as client:
        assert client.get("/for/read").status_code == 200
        problem_of(client.get("/for/read", headers={"X-Forwarded-For": "192.0.2.9"}), 429)


def test_guesses_are_limited_and_a_known_key_still_passes(
    client: TestClient, secrets: dict[str, str]
) -> None:
    statuses = [client.get("/for/read", headers=bearer("dd2d_" + f"{n:043d}")).status_code for n in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    assert client.get("/for/read", headers=bearer(secrets["read"])).status_code == 200
    problem_of(client.get("/for/read"), 401)


def test_access_of_the_default_settings_limits_nothing() -> None:
    access = Access.of(Settings())
    assert access.keyring is None
    for _ in range(1000):
        access.permit(access.identify(None, "192.0.2.1"), "read", "192.0.2.1")


def test_a_key_that_has_expired_is_told_so(keys: Path) -> None:
    key, secret = made_key("old", "admin", datetime(2020, 1, 1, tzinfo=UTC))
    change_key_file(keys, lambda _: (key,))
    with TestClient(guarded(Settings(keys=keys))) as client:
        response = client.get("/for/read", headers=bearer(secret))
        assert "expired" in problem_of(response, 401)
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
