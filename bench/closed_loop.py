"""A load generator that costs little beside the service it measures: HTTP/1.1 by hand over kept connections."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

BACK_OFF_S = 0.05


@dataclass
class Load:
    """What came of a load.

    Attributes:
        seconds: that it lasted.
        answered_s: time of each request that was answered with 200.
        statuses: how often each status came; 0 is a connection that broke.
    """

    seconds: float = 0.0
    answered_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def figures(self) -> dict[str, object]:
        """Requests answered a second, and quantiles of their time in milliseconds."""
        spent = 1e3 * np.array(self.answered_s or [np.nan])
        return {
            "per_second": round(len(self.answered_s) / self.seconds, 1),
            **{f"p{q}_ms": round(float(np.percentile(spent, q)), 1) for q in (50, 95, 99)},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


class Connection:
    """One kept connection to a service on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, media_type: str, body: bytes) -> int:
        """The status of the answer, which is read whole; 0 if the connection broke."""
        return (await self.ask("POST", path, body, {"Content-Type": media_type}))[0]

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """The status of the answer, and the answer; 0 if the connection broke.

        A kept connection that the service has closed meanwhile is opened again.
        """
        kept = self._streams is not None
        answer = await self._asked(method, path, body, headers)
        return await self._asked(method, path, body, headers) if kept and not answer[0] else answer

    async def _asked(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
            reader, writer = self._streams
            given = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
            lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            content = await _content(answer, reader)
            if "connection: close" in answer:
                self.close()
            return int(answer.split(" ", 2)[1]), content
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0, b""

    def close(self) -> None:
        """Let go of it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _content(head: str, reader: asyncio.StreamReader) -> bytes:
    if "transfer-encoding: chunked" in head:
        content = b""
        while size := int((await reader.readline()).strip(), 16):
            content += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return content
    length = head.partition("content-length:")[2].partition("\r\n")[0].strip()
    return await reader.readexactly(int(length or 0))


async def closed_loop(
    port: int, path: str, media_type: str, bodies: Sequence[bytes], clients: int, seconds: float
) -> Load:
    """Clients of whom each asks again as soon as it has its answer; one that is refused waits a moment."""
    load, begun = Load(), time.perf_counter()

    async def client(number: int) -> None:
        connection, turn = Connection(port), number
        while time.perf_counter() - begun < seconds:
            asked = time.perf_counter()
            status = await connection.post(path, media_type, bodies[turn % len(bodies)])
            load.statuses[status] += 1
            if status == 200:
                load.answered_s.append(time.perf_counter() - asked)
            else:
                await asyncio.sleep(BACK_OFF_S)
            turn += clients
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - begun
    return load


async def open_loop(
    port: int, path: str, media_type: str, bodies: Sequence[bytes], per_second: float, seconds: float
) -> Load:
    """Requests that come at random (Poisson) at a mean rate, however long the answers take."""
    load, begun, rng = Load(), time.perf_counter(), np.random.default_rng(0)
    free: list[Connection] = []

    async def ask(turn: int) -> None:
        connection = free.pop() if free else Connection(port)
        asked = time.perf_counter()
        status = await connection.post(path, media_type, bodies[turn % len(bodies)])
        load.statuses[status] += 1
        if status == 200:
            load.answered_s.append(time.perf_counter() - asked)
        free.append(connection)

    tasks: list[asyncio.Task[None]] = []
    due = 0.0
    while due < seconds:
        due += float(rng.exponential(1 / per_second))
        await asyncio.sleep(max(begun + due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(ask(len(tasks))))
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - begun
    for connection in free:
        connection.close()
    return load
