"""Pages of other origins, names of other hosts, proxies, and what stands in the headers."""

from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.auth.trusted_hosts import LOCAL
from app.cli.main import main
from app.main import create_app
from app.settings import Settings
from tests.app.answers import problem_of
from tests.app.stand_in import StandIn

ORIGIN = "https://lab.org"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


@pytest.fixture
def shared() -> Iterator[TestClient]:
    settings = Settings(cors_origins=(ORIGIN,))
    with TestClient(create_app(settings, StandIn()), raise_server_exceptions=False) as client:
        yield client


def test_no_other_origin_is_let_in_by_default(client: TestClient) -> None:
    for response in (
        client.get("/version", headers={"Origin": ORIGIN}),
        client.options("/predict", headers=PREFLIGHT),
    ):
        assert [name for name in response.headers if name.startswith("access-control")] == []


def test_an_origin_of_the_settings_is_let_in(shared: TestClient) -> None:
    response = shared.options("/predict", headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in response.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in response.headers
    assert response.headers["x-request-id"]
    other = shared.get("/version", headers={"Origin": "https://other.org"})
    assert "access-control-allow-origin" not in other.headers


def test_its_errors_can_be_read_too(shared: TestClient, monkeypatch: pytest.MonkeyPatch, points: Any) -> None:
    headers = {"Origin": ORIGIN}
    responses = [
        (shared.get("/nowhere", headers=headers), 404),
        (shared.post("/predict", json={"points": []}, headers=headers), 422),
    ]
    monkeypatch.setattr(StandIn, "search", None)
    responses.append((shared.post("/predict", json={"points": points}, headers=headers), 500))
    for response, status in responses:
        problem_of(response, status)
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "Retry-After" in response.headers["access-control-expose-headers"]
        assert response.headers["x-content-type-options"] == "nosniff"


def asked_as(client: TestClient, host: str) -> Any:
    return client.get("/version", headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.5:8000", "dd2d.localhost", "LOCALHOST."],
)  # fmt: skip
def test_numbers_and_localhost_are_ours(host: str) -> None:
    with TestClient(create_app(Settings(allowed_hosts=LOCAL), StandIn())) as client:
        assert asked_as(client, host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_was_bent_to_this_machine_is_refused(host: str) -> None:
    with TestClient(create_app(Settings(allowed_hosts=LOCAL), StandIn())) as client:
        assert "DD2D_ALLOWED_HOSTS" in problem_of(asked_as(client, host), 421)


def test_names_of_the_settings_are_ours() -> None:
    with TestClient(create_app(Settings(allowed_hosts=("*.lab.org", "dd2d")), StandIn())) as client:
        statuses = [
            asked_as(client, host).status_code for host in ("a.lab.org", "dd2d:80", "lab.org", "other")
        ]
    assert statuses == [200, 200, 421, 421]


def served_with(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Settings, dict[str, Any]]:
    """What `dd2d serve` makes of its words and the environment, without serving."""
    seen: dict[str, Any] = {}

    def create(settings: Settings) -> FastAPI:
        seen["settings"] = settings
        return FastAPI()

    async def serve(server: uvicorn.Server) -> None:
        seen.update(vars(server.config))

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("app.observability.logging.set_up_log", lambda *_: None)
    monkeypatch.setattr("app.main.create_app", create)
    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    assert main(["serve", "--port", "0", *words]) == 0
    return seen.pop("settings"), seen


def test_a_service_on_loopback_answers_for_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, given = served_with(monkeypatch)
    assert given["host"] == "127.0.0.1"
    assert settings.allowed_hosts == LOCAL


def test_elsewhere_any_name_will_do_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_with(monkeypatch, "--host", "0.0.0.0")[0].allowed_hosts is None
    monkeypatch.setenv("DD2D_ALLOWED_HOSTS", "dd2d.lab.org")
    assert served_with(monkeypatch, "--host", "0.0.0.0")[0].allowed_hosts == ("dd2d.lab.org",)


def test_what_a_proxy_says_is_believed_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_with(monkeypatch)[1]["proxy_headers"] is False
    monkeypatch.setenv("DD2D_TRUSTED_PROXIES", "10.0.0.1")
    given = served_with(monkeypatch)[1]
    assert given["proxy_headers"] is True
    assert given["forwarded_allow_ips"] == ["10.0.0.1"]


def test_what_was_computed_is_kept_nowhere_and_pages_are_asked_for_again(
    client: TestClient, points: Any
) -> None:
    assert client.post("/predict", json={"points": points}).headers["cache-control"] == "no-store"
    for path in ("/livez", "/structures/graphene", "/nowhere", "/metrics"):
        assert client.get(path).headers["cache-control"] == "no-store"
    for path in ("/", "/docs", "/static/style.css"):
        assert client.get(path).headers["cache-control"] == "no-cache"


def test_pages_may_use_nothing_of_the_machine(client: TestClient) -> None:
    headers = client.get("/").headers
    assert "camera=()" in headers["permissions-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
