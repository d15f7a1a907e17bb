"""Large bodies take turns, and all of them arrive."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from app.http.read_turns import TURNS_PER_PASS, ReadTurns, TurnedFlow
from app.http.request_framing import LARGE_BODY_BYTES
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import run_server
from tests.app.http.test_body_budget import post
from tests.app.http.test_connections import exchange
from tests.app.stand_in import StandIn


class RecordingTransport(asyncio.Transport):
    """Knows whether it is read."""

    is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def test_few_connections_are_read_in_each_pass_of_the_loop() -> None:
    async def count_read() -> list[int]:
        turns = ReadTurns()
        transports = [RecordingTransport() for _ in range(2 * TURNS_PER_PASS + 1)]
        flows = [TurnedFlow(transport, turns) for transport in transports]
        for flow in flows:
            flow.take_turns(1, has_reader=True)
        counts = []
        for flow in flows:
            flow.resume_reading()
            flow.resume_reading()  # asking twice is one turn
        for _ in range(4):
            counts.append(sum(each.is_read for each in transports))
            await asyncio.sleep(0)
        return counts

    passes = [0, TURNS_PER_PASS, 2 * TURNS_PER_PASS, 2 * TURNS_PER_PASS + 1]
    assert asyncio.run(count_read()) == passes


def test_an_ordinary_body_does_not_wait_for_many_larger_ones() -> None:
    async def count_passes() -> int:
        turns = ReadTurns()
        transports = [RecordingTransport() for _ in range(100)]
        for number, transport in enumerate(transports):
            flow = TurnedFlow(transport, turns)
            flow.take_turns(1000 - number, has_reader=True)
            flow.resume_reading()
        passes = 0
        while not transports[-1].is_read:
            await asyncio.sleep(0)
            passes += 1
        assert transports[0].is_read  # the one that waits for the longest time
        return passes

    assert asyncio.run(count_passes()) == 1


def test_a_connection_without_a_large_body_is_read_at_once() -> None:
    async def read() -> None:
        transport = RecordingTransport()
        flow = TurnedFlow(transport, ReadTurns())
        flow.pause_reading()
        flow.resume_reading()
        assert transport.is_read
        flow.take_turns(1, has_reader=True)
        flow.read_freely()
        flow.resume_reading()
        assert transport.is_read

    asyncio.run(read())


def test_many_large_bodies_arrive_at_once(point_file: bytes) -> None:
    body = point_file + b" " * (3 * LARGE_BODY_BYTES)
    number = 3 * TURNS_PER_PASS
    answered = post("application/json", body, "Connection: close")
    refused = answered.replace(b"/inspect", b"/nowhere")
    with run_server(create_app(Settings(), StandIn())) as port, ThreadPoolExecutor(2 * number) as threads:
        answers = list(threads.map(lambda data: exchange(port, data), [answered, refused] * number))
    assert [answer.split(b" ", 2)[1] for answer in answers] == [b"200", b"404"] * number
