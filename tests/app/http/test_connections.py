"""Connections and the framing of requests, over real sockets: what a client may send, hold open and leave unread."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import Response

from app.http.connections import RESERVED_FILES, ConnectionLimits
from app.http.request_framing import MAX_HEAD_BYTES, MAX_HEADERS, MAX_SMALL_CHUNKS, MAX_URL_BYTES
from app.main import create_app
from app.settings import Settings
from index.search.results import SearchResult
from tests.app.conftest import run_server
from tests.app.stand_in import StandIn

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
GET = HEAD + b"\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NEVER_S = 3600.0
# More than the socket buffers hold.
LARGE = 64 * 2**20


@contextmanager
def serve(**settings: Any) -> Iterator[tuple[FastAPI, int]]:
    app = create_app(Settings(**{"idle_s": NEVER_S, "stall_s": NEVER_S} | settings), StandIn())
    with run_server(app) as port:
        yield app, port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of a service that never runs out of patience."""
    with serve() as (_, port):
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the service closes the connection."""
    with connect(port) as client:
        client.sendall(data)
        return client.makefile("rb").read()


def problem_of_bytes(answer: bytes, status: int) -> str:
    """Check that an answer is a complete problem, and return its type."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    problem = json.loads(body)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"x-request-id"].decode() == problem["request_id"]
    assert (b"retry-after" in headers) == (status in {429, 503})
    return str(problem["type"]).rpartition(":")[2]


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET])
def test_an_idle_connection_is_closed(sent: bytes) -> None:
    with serve(idle_s=0.05) as (_, port):
        answer = exchange(port, sent)
    assert (b" 200 OK\r\n" in answer) == (sent == GET)


@pytest.mark.parametrize("sent", [b"G", HEAD, HEAD + b"X: 1", GET + HEAD])
def test_a_request_whose_head_does_not_end_is_a_408(sent: bytes) -> None:
    with serve(idle_s=0.05) as (_, port):
        answer = exchange(port, sent)
    assert problem_of_bytes(answer[answer.rindex(b"HTTP/1.1") :], 408) == "request-timeout"


def test_a_head_that_arrives_byte_by_byte_is_a_408() -> None:
    with serve(idle_s=0.1) as (_, port), connect(port) as client:
        client.settimeout(0.02)
        answer, sent = b"", iter(HEAD + b"X: " + b"x" * MAX_HEAD_BYTES)
        while not answer:
            client.sendall(bytes([next(sent)]))
            try:
                answer = client.recv(2**16)
            except TimeoutError:
                continue
    assert problem_of_bytes(answer, 408) == "request-timeout"


@pytest.mark.parametrize("limits", [{"stall_s": 0.1}, {"body_bytes": 2**20}])
def test_a_client_that_does_not_read_its_answer_is_disconnected(limits: dict[str, Any]) -> None:
    with serve(**limits) as (app, port), connect(port) as client:
        app.add_api_route("/large", lambda: Response(bytes(LARGE)))
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: len(app.state.connections) == 1)
        wait_until(lambda: len(app.state.connections) == 0)
        assert count_received(client) < LARGE


def count_received(client: socket.socket) -> int:
    total = 0
    with suppress(ConnectionError):
        while data := client.recv(2**20):
            total += len(data)
    return total


def test_what_is_sent_after_a_refusal_is_read_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.bounded_protocol.MAX_DRAIN_S", 0.1)
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
    with serve(idle_s=0.1) as (_, port):
        assert b" 404 " in exchange(port, head + b"x")


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("sent", [b"", b"G", HEAD, GET, CHUNKED + b"1\r\n{\r\n"])
def test_waiting_connections_keep_nobody_out(sent: bytes) -> None:
    with serve(max_connections=5) as (app, port), ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(20)]
        for client in held:
            with suppress(ConnectionError):
                client.sendall(sent)
                if sent == GET:
                    client.recv(2**16)
        for _ in range(20):
            assert exchange(port, HEAD + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        wait_until(lambda: len(app.state.connections) <= 5)


def test_a_request_that_is_cut_off_for_others_gets_a_503() -> None:
    with serve(max_connections=1) as (app, port), connect(port) as first:
        first.sendall(CHUNKED + b"1\r\n{\r\n")
        wait_until(lambda: app.state.service.arriving_bodies.used_bytes == 1)
        with connect(port):
            answer = first.makefile("rb").read()
    assert problem_of_bytes(answer, 503) == "overloaded"


def test_a_burst_of_connections_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.connections.TRIM_S", 1.0)  # also if the machine is busy
    with serve(max_connections=5) as (app, port), ExitStack() as stack:
        for _ in range(10):
            first = stack.enter_context(connect(port))
            first.sendall(GET)
            for _ in range(20):
                stack.enter_context(connect(port))
            assert first.recv(2**16).startswith(b"HTTP/1.1 200 OK\r\n")
        wait_until(lambda: len(app.state.connections) <= 5)


def test_connections_in_great_excess_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.connections.TRIM_S", NEVER_S)
    monkeypatch.setattr("app.http.connections.MAX_BACKLOG", 10)
    with serve(max_connections=5) as (app, port), ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(15)]
        assert [client.recv(1) for client in held[:10]] == [b""] * 10
        assert len(app.state.connections) == 5


class BlockingStandIn(StandIn):
    """Searches until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.is_searching, self.released = threading.Event(), threading.Event()

    def search(self, *args: Any, **kwargs: Any) -> SearchResult:
        self.is_searching.set()
        assert self.released.wait(60)
        return super().search(*args, **kwargs)


def test_a_connection_is_refused_if_every_other_one_awaits_an_answer(point_file: bytes) -> None:
    library = BlockingStandIn()
    with run_server(create_app(Settings(max_connections=1), library)) as port, connect(port) as first:
        first.sendall(
            POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(point_file) + point_file
        )
        assert library.is_searching.wait(60)
        try:
            assert problem_of_bytes(exchange(port, GET), 503) == "overloaded"
        finally:
            library.released.set()
        assert first.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_address_that_fills_the_queue_is_refused_before_its_next_body_arrives(point_file: bytes) -> None:
    library = BlockingStandIn()
    app = create_app(Settings(workers=1, queue=1), library)
    head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(point_file)
    with run_server(app) as port, connect(port) as running, connect(port) as waiting:
        running.sendall(head + point_file)
        assert library.is_searching.wait(60)
        try:
            waiting.sendall(head + point_file)
            wait_until(lambda: len(app.state.service.dispatcher.waiting) == 1)
            assert problem_of_bytes(exchange(port, head), 429) == "queue-full"
            assert b" 200 OK\r\n" in exchange(port, HEAD + b"Connection: close\r\n\r\n")
            with connect(port) as named:  # a key makes another client of it
                named.sendall(POST + b"X-API-Key: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
                assert named.recv(100).startswith(b"HTTP/1.1 100 ")
        finally:
            library.released.set()
        assert running.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")
        assert waiting.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("data", "status", "problem"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed-request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed-request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed-request"),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed-request"),
        (b"GET /" + b"x" * MAX_URL_BYTES + b" HTTP/1.1\r\n", 414, "url-too-long"),
        (b"GET /?" + b"x" * 2**20, 414, "url-too-long"),
        (HEAD + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431, "head-too-large"),
        (HEAD + b"X: " + b"x" * 2**20, 431, "head-too-large"),
        (HEAD + b"x" * 2**20, 431, "head-too-large"),
        (HEAD + b"X: 1\r\n" * MAX_HEADERS + b"\r\n", 431, "head-too-large"),
    ],
)
def test_a_bad_head_is_refused(port: int, data: bytes, status: int, problem: str) -> None:
    assert problem_of_bytes(exchange(port, data), status) == problem


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: +5"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: -5"],
        [b"Content-Length: 99999999999999999999999"],
        [b"Content-Length : 5"],
        [b" Content-Length: 5"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked, gzip"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding:\n chunked"],
        [b"X: 1\nContent-Length: 5"],
        [b"X: 1\x00"],
        [b"X: 1\r2"],
        [b"Content\x00Length: 5"],
        [b"Host: localhost"],
        [b"Host: evil.example"],
    ],
    ids=repr,
)
def test_a_request_that_a_proxy_could_read_differently_is_refused(port: int, headers: list[bytes]) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(headers) + b"\r\n\r\n"
    smuggled = b"0\r\n\r\nGET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = exchange(port, head + smuggled)
    assert problem_of_bytes(answer, 400) == "malformed-request"


@pytest.mark.parametrize(
    "host", [b"", b"Host: a b\r\n", b"Host: [::1].evil.com\r\n", b"Host: a/b\r\n", b"Host: a:b\r\n"]
)
def test_a_request_without_a_valid_host_is_refused(port: int, host: bytes) -> None:
    answer = exchange(port, b"GET /livez HTTP/1.1\r\n" + host + b"\r\n")
    assert problem_of_bytes(answer, 400) == "malformed-request"


def test_http_1_0_is_answered_and_the_connection_closed(port: int) -> None:
    assert exchange(port, b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"1\r\n1\r\n" * (2 * MAX_SMALL_CHUNKS),
        b"1;" + b"x" * 2**18 + b"\r\n1\r\n",
        b"1;x=" + b"x" * 2**18,
        b"0\r\nX: " + b"x" * 2**18,
        b"0\r\n" + b"X: 1\r\n" * (MAX_HEADERS + 1),
        b"1" * 2**18,
        b"1\r\n1X",
        b"g\r\n",
        b"-1\r\n",
        b"1 \r\n1\r\n",
        b"fffffffffffffffff\r\n",
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_a_body_with_bad_or_wasteful_framing_is_refused(port: int, body: bytes) -> None:
    answer = exchange(port, CHUNKED + body)
    assert problem_of_bytes(answer, 431 if b"X: 1\r\n" in body else 400) in {
        "malformed-request",
        "head-too-large",
    }


def test_small_chunks_and_trailers_are_accepted_within_reason(port: int) -> None:
    content = json.dumps({"points": [[1.0, 2.0]] * 10}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
    head = CHUNKED.replace(b"chunked\r\n", b"chunked\r\nConnection: close\r\n")
    answer = exchange(port, head + chunks + b"0\r\nHost: evil.example\r\n\r\n")
    assert b"malformed" not in answer
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 422 "))


def test_pipelined_requests_are_answered_in_order_up_to_a_limit(port: int) -> None:
    gets = b"".join(
        b"GET /nowhere/%d HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %d\r\n\r\n" % (i, i) for i in range(5)
    )
    answer = exchange(port, gets + HEAD + b"Connection: close\r\n\r\n")
    assert [f"/nowhere/{i};".encode() in answer for i in range(5)] == [True] * 5
    assert answer.count(b"HTTP/1.1 ") == 6
    # Of far too many, the first ones are answered, and the connection is closed.
    answer = exchange(port, GET * 1000)
    assert 1 <= answer.count(b"HTTP/1.1 200 ") < 1000


def test_what_follows_a_valid_request_does_not_cost_its_answer(port: int) -> None:
    assert exchange(port, GET + b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_an_upgrade_is_declined(port: int, protocol: bytes) -> None:
    answer = exchange(port, HEAD + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\nrest")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_connections_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    for settings in (Settings(), Settings(max_connections=10)):
        limits = ConnectionLimits.from_settings(settings)
        assert limits.max_connections + 2 * limits.backlog + RESERVED_FILES <= 1024
        assert limits.max_connections == min(settings.max_connections, (1024 - RESERVED_FILES) // 3)
