"""Uploads that are arriving share one limit of bytes; those that stall make room for those that do not."""

import asyncio
import json
import socket
from contextlib import ExitStack
from http.client import HTTPResponse

import pytest

from app.http.body_budget import BodyBudget
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import run_server
from tests.app.http.test_connections import connect, exchange, wait_until
from tests.app.http.test_read_body import SimulatedTimeLoop
from tests.app.stand_in import StandIn

SIZE = 2**18
SETTINGS = Settings(max_upload_bytes=SIZE, max_json_bytes=SIZE, body_bytes=4 * SIZE)
FORM_HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
FORM_END = b"\r\n--x--\r\n"
KINDS = {
    "application/json": b"[".ljust(SIZE - 1) + b"]",
    "multipart/form-data; boundary=x": FORM_HEAD.ljust(SIZE - len(FORM_END), b"0") + FORM_END,
}


def post(kind: str, body: bytes, *headers: str) -> bytes:
    lines = [
        "POST /inspect HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("kind", KINDS)
def test_uploads_that_hold_back_their_last_byte_are_refused_for_others(kind: str, point_file: bytes) -> None:
    app = create_app(SETTINGS, StandIn())
    with run_server(app) as port, ExitStack() as stack:
        budget: BodyBudget = app.state.service.arriving_bodies
        held: list[socket.socket] = []
        for number in range(12):
            held.append(stack.enter_context(connect(port)))
            held[-1].sendall(post(kind, KINDS[kind])[:-1])
            expected = min(number + 1, 4) * (SIZE - 1)
            wait_until(lambda expected=expected: budget.used_bytes == expected)  # type: ignore[misc]
            answer = exchange(port, post("application/json", point_file, "Connection: close"))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            if number >= 3:
                assert read_problem(held[number - 3]) == "urn:dd2d:problem:overloaded"
        # The latest ones still arrive.
        held[-1].sendall(KINDS[kind][-1:])
        assert read_problem(held[-1]) != "urn:dd2d:problem:overloaded"
        wait_until(lambda: budget.used_bytes == 2 * (SIZE - 1))


def read_problem(client: socket.socket) -> str:
    response = HTTPResponse(client)
    response.begin()
    problem = json.loads(response.read())
    assert response.getheader("Retry-After") == ("1" if response.status == 503 else None)
    return str(problem["type"])


def test_the_body_that_has_stalled_is_revoked() -> None:
    async def arrive() -> None:
        budget = BodyBudget(100)
        with budget.arriving() as first, budget.arriving() as second, budget.arriving() as third:
            first.add(30)
            second.add(50)
            third.add(10)
            await asyncio.sleep(1)
            first.note_progress()
            first.add(10)
            assert budget.used_bytes == 100
            first.add(1)
            assert [each.is_revoked for each in (first, second, third)] == [False, True, False]
            assert budget.used_bytes == 51
            first.add(45)
            await asyncio.sleep(1)
            third.add(5)  # half as long without progress, the first occupies more than five times as much
            assert [each.is_revoked for each in (first, third)] == [True, False]
        assert budget.used_bytes == 0

    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner:
        runner.run(arrive())


def test_a_body_larger_than_the_budget_is_revoked_itself() -> None:
    async def arrive() -> None:
        with BodyBudget(100).arriving() as body:
            body.add(100)
            assert not body.is_revoked
            async with asyncio.timeout(60) as timer:
                with body.wait_with(timer):
                    body.add(1)
                    assert body.is_revoked
                    await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=SimulatedTimeLoop) as runner, pytest.raises(TimeoutError):
        runner.run(arrive())


def test_one_upload_always_fits(point_file: bytes) -> None:
    settings = Settings(body_bytes=1024, max_json_bytes=2**20)
    body = point_file + b" " * (2**20 - len(point_file))
    with run_server(create_app(settings, StandIn())) as port:
        answer = exchange(port, post("application/json", body, "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
