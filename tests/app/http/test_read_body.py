"""Requests that stall or trickle in are aborted, and release what they held."""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from starlette.requests import Request

from app.errors import RequestTimeoutError
from app.http.body_budget import BodyBudget
from app.http.dependencies import MAX_BATCHES
from app.http.read_body import MIN_PROGRESS_BYTES, stream_body
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import run_server
from tests.app.stand_in import StandIn

STALL_S = 30.0
BODY_S = 4000.0


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time: when idle, its clock jumps to the next scheduled call."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def receive_body(chunks: Iterable[bytes], pause_s: float, reader_s: float = 0.0) -> int:
    """Return the size of a body whose chunks arrive with pauses and are read with pauses."""
    remaining: Iterator[bytes] = iter(chunks)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        chunk = next(remaining, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def read() -> int:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        total, settings = 0, Settings(stall_s=STALL_S, body_s=BODY_S)
        with BodyBudget(2**63).arriving() as arriving:
            async for chunk in stream_body(request, settings, "max_upload_bytes", arriving):
                total += len(chunk)
                await asyncio.sleep(reader_s)
        return total

    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
        return runner.run(read())


def test_a_slow_but_steady_connection_is_read_to_the_end() -> None:
    assert receive_body([bytes(MIN_PROGRESS_BYTES)] * 100, 0.9 * STALL_S) == 100 * MIN_PROGRESS_BYTES
    assert receive_body([bytes(MIN_PROGRESS_BYTES // 4)] * 100, 0.2 * STALL_S) == 25 * MIN_PROGRESS_BYTES


def test_the_time_of_a_slow_reader_is_not_counted() -> None:
    assert receive_body([b"x"] * 100, 0.0, STALL_S) == 100


@pytest.mark.parametrize(
    ("size", "pause_s"), [(MIN_PROGRESS_BYTES, 1.1), (1, 0.1), (MIN_PROGRESS_BYTES // 4, 0.3)]
)
def test_a_sender_that_stalls_or_trickles_is_aborted(size: int, pause_s: float) -> None:
    with pytest.raises(RequestTimeoutError, match="in 30 seconds"):
        receive_body([bytes(size)] * 100, pause_s * STALL_S)


def test_a_steady_sender_is_aborted_after_the_time_for_a_whole_request() -> None:
    with pytest.raises(RequestTimeoutError, match="in 4000 seconds"):
        receive_body([bytes(MIN_PROGRESS_BYTES)] * 200, 0.9 * STALL_S)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_stalled_request_is_a_408_and_closes_the_connection(path: str) -> None:
    app = create_app(Settings(stall_s=0.02), StandIn())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with run_server(app) as port:
        for _ in range(MAX_BATCHES + 1):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(f"{head}Content-Length: 900\r\n\r\n--x".encode())
                answer = client.makefile("rb").read()  # until it is closed
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"urn:dd2d:problem:request-timeout" in answer
