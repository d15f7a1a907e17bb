"""Health, metrics, errors, headers, pages, and a service under load."""

import asyncio
import http.client
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.http.problem_details import PROBLEM_TYPES, find_problem_type
from app.http.routes.service import _run_shared
from app.main import create_app
from app.observability.logging import add_request_id
from app.observability.metrics import Metrics
from app.settings import Settings
from app.workers.messages import CanaryJob
from index.chemistry.elements import get_atomic_numbers
from index.live.live_index import LiveIndex
from index.search.results import SearchResult
from index.storage.layout import VECTORS_NAME
from index.storage.versions import find_version_folder
from model import errors
from model.errors import DomainError, IndexDamagedError, IndexUnavailableError
from tests.app.answers import problem_of
from tests.app.conftest import run_server
from tests.app.stand_in import StandIn
from tests.index.stand_in import RadialEncoder

Points = list[list[float]]


def test_the_process_responds(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}


def test_readiness_requires_a_search(client: TestClient, library: StandIn) -> None:
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["crystals"] == len(library.entries)
    assert len(library.searches) == 1


def test_the_canary_is_graphene(client: TestClient, library: StandIn) -> None:
    client.get("/readyz")
    (search,) = library.searches
    result = library.search(**search)
    assert result.candidates[0].entry.id == "graphene"


@pytest.mark.parametrize(
    "outcome", [RuntimeError("/secret"), IndexUnavailableError("/secret"), SearchResult((), {})]
)
def test_a_failing_search_is_not_ready(
    client: TestClient, library: StandIn, monkeypatch: pytest.MonkeyPatch, outcome: Exception | SearchResult
) -> None:
    def search(*_: object, **__: object) -> SearchResult:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(library, "search", search)
    response = client.get("/readyz")
    assert "secret" not in problem_of(response, 503)
    assert int(response.headers["retry-after"]) >= 1
    assert client.get("/livez").status_code == 200


def test_a_damaged_index_is_not_ready_and_answers_nothing(
    tmp_path: Path, served: Path, points: Points
) -> None:
    index = LiveIndex.open(served, RadialEncoder(), watch_s=None)
    with TestClient(create_app(Settings(), index)) as client:
        assert client.get("/readyz").status_code == 200
        vectors = find_version_folder(served) / VECTORS_NAME
        content = bytearray(vectors.read_bytes())
        content[-9] ^= 4
        with vectors.open("r+b") as stream:  # in place: the file is mapped
            stream.write(content)
        with pytest.raises(IndexDamagedError):
            list(index.check_integrity())
        for response in (client.get("/readyz"), client.post("/predict", json={"points": points})):
            detail = problem_of(response, 503)
            assert VECTORS_NAME in detail
            assert str(tmp_path) not in detail
            assert response.json()["type"] == "urn:dd2d:problem:not-ready"
    index.close()


def test_damage_is_a_metric(client: TestClient) -> None:
    metrics = Metrics()
    assert "dd2d_index_damaged 0.0" in client.get("/metrics").text
    metrics.record_damage(True)
    assert b"dd2d_index_damaged 1.0" in metrics.render()


def test_version_is_the_provenance(client: TestClient, points: Points) -> None:
    answer = client.post("/predict", json={"points": points}).json()
    assert client.get("/version").json() == answer["provenance"]


def samples(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by the values of its labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def test_requests_are_counted_by_route_and_status(client: TestClient, points: Points) -> None:
    client.post("/predict", json={"points": points})
    client.post("/predict", json={"points": []})
    for id in ("graphene", "bilayers%2FMoS2%2050%25%2FAB", "absent"):
        client.get(f"/structures/{id}")
    client.get("/nowhere/1")
    client.request("BREW", "/nowhere/2")
    assert samples(client, "dd2d_http_requests_total") == {
        ("POST", "/predict", "200"): 1,
        ("POST", "/predict", "422"): 1,
        ("GET", "/structures/{id}", "200"): 2,
        ("GET", "/structures/{id}", "404"): 1,
        ("GET", "other", "404"): 1,
        ("other", "other", "404"): 1,
    }
    assert samples(client, "dd2d_http_request_duration_seconds_count")["POST", "/predict"] == 2
    assert samples(client, "dd2d_prediction_stage_seconds_count")[("search",)] == 1


def test_the_memory_of_worker_processes_is_measured() -> None:
    """The workers: this process, one that is not a process, and one that has exited."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    metrics = Metrics()
    metrics.watch_workers(lambda: [os.getpid(), None, ended.pid])
    families = {each.name: each for each in text_string_to_metric_families(metrics.render().decode())}
    (sample,) = families["dd2d_worker_resident_memory_bytes"].samples
    (whole,) = families["process_resident_memory_bytes"].samples
    assert sample.labels == {"worker": "0"}
    assert sample.value == pytest.approx(whole.value, rel=0.2)


def test_internal_errors_are_counted(
    client: TestClient, library: StandIn, points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "search", None)
    client.post("/predict", json={"points": points})
    assert samples(client, "dd2d_http_requests_total") == {("POST", "/predict", "500"): 1}


def test_problems_are_counted_by_type_also_in_batches(
    client: TestClient, library: StandIn, points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/predict", json={"points": []})
    client.post("/predict", content=b"{", headers={"Content-Type": "application/json"})
    client.post("/predict/batch", files=[("file", ("a.json", b"{")), ("file", ("b.txt", b"no table"))])
    client.get("/nowhere")
    monkeypatch.setattr(library, "search", None)
    client.post("/predict", json={"points": points})
    assert samples(client, "dd2d_problems_total") == {
        ("no-spots",): 1,
        ("unreadable",): 2,
        ("unsupported-format",): 1,
        ("404",): 1,
        ("500",): 1,
    }


def test_the_metrics_state_what_is_served(client: TestClient, library: StandIn) -> None:
    provenance = client.get("/version").json()
    assert samples(client, "dd2d_index_crystals") == {(): len(library.entries)}
    (labels,) = samples(client, "dd2d_build_info")
    assert set(labels) == {provenance["version"], provenance["model"], provenance["index"]}


def test_each_application_has_its_own_metrics(client: TestClient) -> None:
    client.get("/livez")
    with TestClient(create_app(Settings(), StandIn())) as other:
        assert samples(other, "dd2d_http_requests_total") == {}


def test_each_request_has_a_line_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app"):
        client.get("/structures/a%0Ab")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "app.http.middleware"]
    assert line.startswith("GET /structures/a%0Ab 404 in ")


def test_an_unknown_path_is_a_404_problem(client: TestClient) -> None:
    assert "/nowhere" in problem_of(client.get("/nowhere"), 404)
    problem_of(client.get("/static/absent.js"), 404)
    problem_of(client.get("/static/../main.py"), 404)


def test_an_unsupported_method_is_a_405_problem_with_allow(client: TestClient) -> None:
    response = client.get("/predict")
    problem_of(response, 405)
    assert response.headers["allow"] == "POST"
    problem_of(client.post("/livez"), 405)


def test_an_internal_error_reveals_nothing(
    client: TestClient,
    library: StandIn,
    points: Points,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> SearchResult:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(library, "search", fail)
    caplog.handler.addFilter(add_request_id)
    with caplog.at_level(logging.ERROR):
        response = client.post("/predict", json={"points": points}, headers={"X-Request-ID": "mine-1"})
    assert "secret" not in problem_of(response, 500)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "/secret/path" in caplog.text
    assert {vars(record)["request_id"] for record in caplog.records} == {"mine-1"}


def test_every_domain_error_has_a_problem_type() -> None:
    family = {
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DomainError)
    }
    assert family <= set(PROBLEM_TYPES)
    assert {PROBLEM_TYPES[each].status for each in family} == {400, 409, 413, 415, 422, 503}


def test_a_derived_error_has_the_problem_type_of_its_base() -> None:
    class Narrower(errors.OptionError):
        """A class that the table does not list."""

    assert find_problem_type(Narrower("x")) is PROBLEM_TYPES[errors.OptionError]


@pytest.mark.parametrize("client_id", ["lab-7", "a" * 128, "550e8400-e29b-41d4-a716-446655440000"])
def test_a_request_id_is_returned(client: TestClient, points: Points, client_id: str) -> None:
    response = client.post("/predict", json={"points": points}, headers={"X-Request-ID": client_id})
    assert response.headers["x-request-id"] == client_id
    assert response.json()["request_id"] == client_id


@pytest.mark.parametrize("client_id", ["", "a" * 129, "two words", "<script>"])
def test_an_invalid_request_id_is_replaced(client: TestClient, client_id: str) -> None:
    generated = client.get("/livez", headers={"X-Request-ID": client_id}).headers["x-request-id"]
    assert generated != client_id
    assert generated != client.get("/livez").headers["x-request-id"]


def test_every_response_has_security_headers(client: TestClient) -> None:
    for path in ("/", "/docs", "/livez", "/nowhere", "/static/style.css"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_other_hosts(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert "http:" not in page.text
    assert "https:" not in page.text
    links = [part.split('"')[0] for mark in ('src="', 'href="') for part in page.text.split(mark)[1:]]
    assert [link for link in links if link.startswith("/static/")]
    for link in links:
        assert link.startswith("data:") or client.get(link).status_code == 200


def test_static_files_are_revalidated(client: TestClient) -> None:
    for path in ("/", "/docs", "/static/page.js"):
        first = client.get(path)
        assert first.headers["cache-control"] == "no-cache"
    again = client.get("/static/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_the_page_sends_only_existing_options(client: TestClient) -> None:
    sent = client.get("/static/page/request.js").text
    names = set(re.findall(r"\b[a-z]+_[a-z]+\b", sent))
    body = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"pixel_size", "elements_all", "top_k"} <= names
    assert names <= set(body["multipart/form-data"]["schema"]["properties"])


def test_the_page_gets_the_position_of_every_element(client: TestClient) -> None:
    table = {each["symbol"]: each for each in client.get("/elements.json").json()}
    assert len(table) == len(get_atomic_numbers())
    assert len({(each["row"], each["column"]) for each in table.values()}) == len(table)
    positions = {
        symbol: (table[symbol]["row"], table[symbol]["column"]) for symbol in ("H", "C", "Mo", "W", "Eu")
    }
    assert positions == {"H": (1, 1), "C": (2, 14), "Mo": (5, 6), "W": (6, 6), "Eu": (9, 9)}
    assert table["S"]["radius"] == 1.05
    assert [symbol for symbol in ("C", "S", "Mo", "Bi") if table[symbol]["metal"]] == ["Mo", "Bi"]


class BlockedStandIn(StandIn):
    """A library whose searches wait until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()

    def search(self, *args: Any, **kwargs: Any) -> SearchResult:
        self.started.release()
        assert self.gate.wait(20)
        return super().search(*args, **kwargs)


@pytest.fixture
def blocked() -> Iterator[BlockedStandIn]:
    library = BlockedStandIn()
    yield library
    library.gate.set()


def test_a_full_queue_is_a_429_and_does_not_block_the_service(
    blocked: BlockedStandIn, points: Points
) -> None:
    settings = Settings(workers=1, queue=0)
    with TestClient(create_app(settings, blocked)) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/predict", json={"points": points})
        assert blocked.started.acquire(timeout=20)
        response = client.post("/predict", json={"points": points})
        problem_of(response, 429)
        assert int(response.headers["retry-after"]) >= 1
        assert client.get("/livez").status_code == 200
        blocked.gate.set()
        assert first.result().status_code == 200
        assert client.post("/predict", json={"points": points}).status_code == 200


def test_a_late_answer_is_a_503_and_occupies_its_worker_until_done(
    blocked: BlockedStandIn, points: Points
) -> None:
    settings = Settings(workers=1, queue=0, deadline_s=0.05)
    with TestClient(create_app(settings, blocked)) as client:
        response = client.post("/predict", json={"points": points})
        assert "0.05 seconds" in problem_of(response, 503)
        assert int(response.headers["retry-after"]) >= 1
        problem_of(client.post("/predict", json={"points": points}), 429)
        blocked.gate.set()


def test_the_version_does_not_wait_for_busy_workers(
    blocked: BlockedStandIn, points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.routes.service.MAX_VERSION_S", 0.01)
    with TestClient(create_app(Settings(workers=1), blocked)) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/predict", json={"points": points})
        assert blocked.started.acquire(timeout=20)
        assert client.get("/version").json()["crystals"] == len(blocked.entries)
        blocked.gate.set()
        assert first.result().status_code == 200


def test_simultaneous_readiness_checks_share_one_search(blocked: BlockedStandIn) -> None:
    app = create_app(Settings(), blocked)

    async def check_readiness() -> None:
        service = app.state.service
        checks = [asyncio.create_task(_run_shared(service, CanaryJob())) for _ in range(5)]
        assert await asyncio.to_thread(blocked.started.acquire, timeout=20)
        blocked.gate.set()
        await asyncio.gather(*checks)
        assert len(blocked.searches) == 1
        await _run_shared(service, CanaryJob())
        assert len(blocked.searches) == 2

    with TestClient(app) as client:
        assert client.portal is not None
        client.portal.call(check_readiness)


def test_a_request_is_dropped_when_its_client_disconnects(blocked: BlockedStandIn, points: Points) -> None:
    body = json.dumps({"points": points, "top_k": 7}).encode()
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    app = create_app(Settings(workers=1), blocked)
    with run_server(app) as port, ThreadPoolExecutor(1) as threads:
        first = threads.submit(post_points, port, json.dumps({"points": points}))
        assert blocked.started.acquire(timeout=20)
        dispatcher = app.state.service.dispatcher
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: len(dispatcher.waiting) == 1)
        wait_until(lambda: len(dispatcher.waiting) == 0)
        blocked.gate.set()
        assert first.result() == 200
        assert post_points(port, json.dumps({"points": points})) == 200
    assert [search["top_k"] for search in blocked.searches] == [10, 10]


def post_points(port: int, body: str) -> int:
    """Return the status of a prediction."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until another thread makes the condition true."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the condition never became true")


def test_a_given_library_stays_open(library: StandIn) -> None:
    with TestClient(create_app(Settings(), library)):
        pass
    assert not library.closed


def test_a_service_without_an_index_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(IndexUnavailableError, match="contains no index"),
        TestClient(create_app(Settings(index=tmp_path))),
    ):
        pass
