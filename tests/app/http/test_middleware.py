"""CORS, host names, proxies and response headers."""

from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.cli.main import main
from app.http.browser_protection import LOCAL_HOSTS
from app.http.middleware import MAX_LOGGED_PATH_CHARACTERS
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
def cors_client() -> Iterator[TestClient]:
    settings = Settings(cors_origins=(ORIGIN,))
    with TestClient(create_app(settings, StandIn()), raise_server_exceptions=False) as client:
        yield client


def test_no_other_origin_is_allowed_by_default(client: TestClient) -> None:
    for response in (
        client.get("/version", headers={"Origin": ORIGIN}),
        client.options("/predict", headers=PREFLIGHT),
    ):
        assert [name for name in response.headers if name.startswith("access-control")] == []


def test_a_configured_origin_is_allowed(cors_client: TestClient) -> None:
    response = cors_client.options("/predict", headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in response.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in response.headers
    assert response.headers["x-request-id"]
    other = cors_client.get("/version", headers={"Origin": "https://other.org"})
    assert "access-control-allow-origin" not in other.headers


def test_a_configured_origin_can_read_errors(
    cors_client: TestClient, monkeypatch: pytest.MonkeyPatch, points: Any
) -> None:
    headers = {"Origin": ORIGIN}
    responses = [
        (cors_client.get("/nowhere", headers=headers), 404),
        (cors_client.post("/predict", json={"points": []}, headers=headers), 422),
    ]
    monkeypatch.setattr(StandIn, "search", None)
    responses.append((cors_client.post("/predict", json={"points": points}, headers=headers), 500))
    for response, status in responses:
        problem_of(response, status)
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "Retry-After" in response.headers["access-control-expose-headers"]
        assert response.headers["x-content-type-options"] == "nosniff"


def get_as(client: TestClient, host: str) -> Any:
    return client.get("/version", headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.5:8000", "dd2d.localhost", "LOCALHOST."],
)  # fmt: skip
def test_ip_addresses_and_localhost_are_accepted(host: str) -> None:
    with TestClient(create_app(Settings(allowed_hosts=LOCAL_HOSTS), StandIn())) as client:
        assert get_as(client, host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "", "[::1].evil.example",
     "[::1", "::1]", "localhost:80.evil.example", "evil.example:[::1]", "[localhost]evil", "localhost@evil.example"],
)  # fmt: skip
def test_a_foreign_host_name_is_refused(host: str) -> None:
    with TestClient(create_app(Settings(allowed_hosts=LOCAL_HOSTS), StandIn())) as client:
        assert "DD2D_ALLOWED_HOSTS" in problem_of(get_as(client, host), 421)


def test_configured_host_names_are_accepted() -> None:
    with TestClient(create_app(Settings(allowed_hosts=("*.lab.org", "dd2d")), StandIn())) as client:
        statuses = [get_as(client, host).status_code for host in ("a.lab.org", "dd2d:80", "lab.org", "other")]
    assert statuses == [200, 200, 421, 421]


def configuration_of_serve(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Settings, dict[str, Any]]:
    """Return the settings and the uvicorn configuration of `dd2d serve`, without serving."""
    seen: dict[str, Any] = {}

    def create(settings: Settings) -> FastAPI:
        seen["settings"] = settings
        return create_app(settings, StandIn())

    async def serve(server: uvicorn.Server) -> None:
        seen.update(vars(server.config))

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("app.observability.logging.configure_logging", lambda *_: None)
    monkeypatch.setattr("app.main.create_app", create)
    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    assert main(["serve", "--port", "0", *words]) == 0
    return seen.pop("settings"), seen


def test_on_loopback_only_local_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, given = configuration_of_serve(monkeypatch)
    assert given["host"] == "127.0.0.1"
    assert settings.allowed_hosts == LOCAL_HOSTS


def test_elsewhere_any_name_is_accepted_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configuration_of_serve(monkeypatch, "--host", "0.0.0.0")[0].allowed_hosts is None
    monkeypatch.setenv("DD2D_ALLOWED_HOSTS", "dd2d.lab.org")
    assert configuration_of_serve(monkeypatch, "--host", "0.0.0.0")[0].allowed_hosts == ("dd2d.lab.org",)


def test_forwarded_headers_are_trusted_only_from_configured_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configuration_of_serve(monkeypatch)[1]["proxy_headers"] is False
    monkeypatch.setenv("DD2D_TRUSTED_PROXIES", "10.0.0.1")
    given = configuration_of_serve(monkeypatch)[1]
    assert given["proxy_headers"] is True
    assert given["forwarded_allow_ips"] == ["10.0.0.1"]


def test_responses_are_not_cached_and_pages_are_revalidated(client: TestClient, points: Any) -> None:
    assert client.post("/predict", json={"points": points}).headers["cache-control"] == "no-store"
    for path in ("/livez", "/structures/graphene", "/nowhere", "/metrics"):
        assert client.get(path).headers["cache-control"] == "no-store"
    for path in ("/", "/docs", "/static/style.css"):
        assert client.get(path).headers["cache-control"] == "no-cache"


def test_every_response_has_the_security_headers(client: TestClient) -> None:
    headers = client.get("/").headers
    assert "camera=()" in headers["permissions-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN},
        {"Origin": "null"},
        {"Origin": "http://testserver:81"},
        {"Origin": "https://testserver", "Host": "testserver:80"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "testserver"},
        {"Origin": "http://[::1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver:3000"},
    ],
)
def test_a_page_of_another_origin_computes_and_changes_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr("app.http.dependencies.run_job", None)
    for method, path in [
        ("POST", "/predict"), ("POST", "/predict/batch"), ("POST", "/inspect"), ("POST", "/compare"),
        ("POST", "/replay"), ("POST", "/structures"), ("DELETE", "/structures/x"), ("POST", "/admin/reload"),
        ("PUT", "/structures/x"), ("PATCH", "/predict"),
    ]:  # fmt: skip
        response = client.request(method, path, headers=headers)
        assert "DD2D_CORS_ORIGINS" in problem_of(response, 403)
        assert response.json()["type"].endswith(":foreign-origin")
    assert client.get("/version", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://testserver"},
        {"Origin": "https://testserver"},
        {"Origin": "http://TestServer:80"},
        {"Origin": "https://lab.org", "Host": "lab.org:443"},
        {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
        {"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_the_service_answers_its_own_pages_and_programs(
    client: TestClient, headers: dict[str, str], points: Any
) -> None:
    assert client.post("/predict", json={"points": points}, headers=headers).status_code == 200


def test_a_configured_origin_may_compute(cors_client: TestClient, points: Any) -> None:
    def post(client: TestClient, origin: str) -> Any:
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        return client.post("/predict", json={"points": points}, headers=headers)

    assert post(cors_client, ORIGIN).status_code == 200
    problem_of(post(cors_client, "https://other.org"), 403)
    with TestClient(create_app(Settings(cors_origins=("*",)), StandIn())) as client:
        assert post(client, "https://other.org").status_code == 200


def test_head_is_answered_like_get_without_a_body(client: TestClient) -> None:
    documented = client.get("/openapi.json").json()["paths"]
    paths = [path.replace("{id}", "graphene") for path, methods in documented.items() if "get" in methods]
    assert {"/livez", "/structures/graphene/cif"} <= set(paths)
    paths = [*paths, "/", "/docs", "/elements.json", "/static/style.css", "/openapi.json", "/nowhere"]
    for path in paths:
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        if path not in {"/metrics", "/readyz"}:  # their lengths change
            assert head.headers["content-length"] == get.headers["content-length"]
        assert head.headers["content-type"] == get.headers["content-type"]
    problem_of(client.post("/livez"), 405)
    assert client.head("/predict").status_code == 405
    assert 'method="HEAD",route="/livez",status="200"' in client.get("/metrics").text


def test_a_long_path_is_cut_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "app.http.middleware"):
        client.get("/nowhere/" + "\u00e9" * 5000)
    (record,) = [each for each in caplog.records if each.name == "app.http.middleware"]
    assert len(record.getMessage()) < 300
    assert record.access["path"].startswith("/nowhere/%C3%A9")  # type: ignore[attr-defined]
    assert len(record.access["path"]) == MAX_LOGGED_PATH_CHARACTERS  # type: ignore[attr-defined]
