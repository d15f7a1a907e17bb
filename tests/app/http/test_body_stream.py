"""Requests that come to a halt, or trickle in: they are given up, and what they held is free for others."""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from starlette.requests import Request

from app.errors import RequestTimeoutError
from app.http.read_body import MIN_PROGRESS_BYTES, stream_body
from app.http.state import MAX_BATCHES
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import listening
from tests.app.stand_in import StandIn

STALL_S = 30.0


class Clockwork(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time: when nothing is left to do, it is as late as the next thing is due."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def received(chunks: Iterable[bytes], pause_s: float, reader_s: float = 0.0) -> int:
    """Bytes of a body whose chunks come with a pause before each, and are read by one who takes his time."""
    coming: Iterator[bytes] = iter(chunks)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        chunk = next(coming, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def read() -> int:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        total = 0
        async for chunk in stream_body(request, Settings(stall_s=STALL_S), "max_upload_bytes"):
            total += len(chunk)
            await asyncio.sleep(reader_s)
        return total

    with asyncio.Runner(loop_factory=Clockwork) as runner:
        return runner.run(read())


def test_a_slow_connection_that_goes_on_is_read_to_the_end() -> None:
    assert received([bytes(MIN_PROGRESS_BYTES)] * 100, 0.9 * STALL_S) == 100 * MIN_PROGRESS_BYTES
    assert received([bytes(MIN_PROGRESS_BYTES // 4)] * 100, 0.2 * STALL_S) == 25 * MIN_PROGRESS_BYTES


def test_a_slow_reader_is_not_the_sender_s_fault() -> None:
    assert received([b"x"] * 100, 0.0, STALL_S) == 100


@pytest.mark.parametrize(
    ("size", "pause_s"), [(MIN_PROGRESS_BYTES, 1.1), (1, 0.1), (MIN_PROGRESS_BYTES // 4, 0.3)]
)
def test_a_sender_that_halts_or_trickles_is_given_up(size: int, pause_s: float) -> None:
    with pytest.raises(RequestTimeoutError, match="in 30 seconds"):
        received([bytes(size)] * 100, pause_s * STALL_S)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_request_that_comes_to_a_halt_is_408_and_the_connection_closed(path: str) -> None:
    app = create_app(Settings(stall_s=0.02), StandIn())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with listening(app) as port:
        for _ in range(MAX_BATCHES + 1):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(f"{head}Content-Length: 900\r\n\r\n--x".encode())
                answer = client.makefile("rb").read()  # until it is closed
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"urn:dd2d:problem:request-timeout" in answer
