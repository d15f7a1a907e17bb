"""A load generator that needs little processor time: HTTP/1.1 over persistent connections."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

BACK_OFF_S = 0.05


@dataclass
class Load:
    """Result of a load.

    Attributes:
        seconds: duration of the load.
        answered_s: time of each request with status 200.
        statuses: number of responses with each status; 0 is a broken connection.
    """

    seconds: float = 0.0
    answered_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def summarize(self) -> dict[str, object]:
        """Return the requests per second and quantiles of their time in milliseconds."""
        spent = 1e3 * np.array(self.answered_s or [np.nan])
        return {
            "per_second": round(len(self.answered_s) / self.seconds, 1),
            **{f"p{q}_ms": round(float(np.percentile(spent, q)), 1) for q in (50, 95, 99)},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


class Connection:
    """One persistent connection to a service on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, media_type: str, body: bytes) -> int:
        """Send a POST request and return the status; 0 if the connection broke."""
        return (await self.send("POST", path, body, {"Content-Type": media_type}))[0]

    async def send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Send a request and return status and content; the status is 0 if the connection broke.

        A persistent connection that the service has closed is opened again.
        """
        kept = self._streams is not None
        answer = await self._send_once(method, path, body, headers)
        return await self._send_once(method, path, body, headers) if kept and not answer[0] else answer

    async def _send_once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
            reader, writer = self._streams
            all_headers = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
            lines = [
                f"{method} {path} HTTP/1.1",
                *(f"{name}: {value}" for name, value in all_headers.items()),
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            content = await _read_content(answer, reader)
            if "connection: close" in answer:
                self.close()
            return int(answer.split(" ", 2)[1]), content
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0, b""

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read_content(head: str, reader: asyncio.StreamReader) -> bytes:
    if "transfer-encoding: chunked" in head:
        content = b""
        while size := int((await reader.readline()).strip(), 16):
            content += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return content
    length = head.partition("content-length:")[2].partition("\r\n")[0].strip()
    return await reader.readexactly(int(length or 0))


async def run_closed_loop(
    port: int, path: str, media_type: str, bodies: Sequence[bytes], clients: int, seconds: float
) -> Load:
    """Run clients that each send the next request when they have a response; after an error they pause."""
    load, begun = Load(), time.perf_counter()

    async def client(number: int) -> None:
        connection, turn = Connection(port), number
        while time.perf_counter() - begun < seconds:
            started = time.perf_counter()
            status = await connection.post(path, media_type, bodies[turn % len(bodies)])
            load.statuses[status] += 1
            if status == 200:
                load.answered_s.append(time.perf_counter() - started)
            else:
                await asyncio.sleep(BACK_OFF_S)
            turn += clients
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - begun
    return load


async def run_open_loop(
    port: int, path: str, media_type: str, bodies: Sequence[bytes], per_second: float, seconds: float
) -> Load:
    """Send requests at random times (Poisson) with a mean rate, independent of the responses."""
    load, begun, rng = Load(), time.perf_counter(), np.random.default_rng(0)
    free: list[Connection] = []

    async def send_request(turn: int) -> None:
        connection = free.pop() if free else Connection(port)
        started = time.perf_counter()
        status = await connection.post(path, media_type, bodies[turn % len(bodies)])
        load.statuses[status] += 1
        if status == 200:
            load.answered_s.append(time.perf_counter() - started)
        free.append(connection)

    tasks: list[asyncio.Task[None]] = []
    due = 0.0
    while due < seconds:
        due += float(rng.exponential(1 / per_second))
        await asyncio.sleep(max(begun + due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(send_request(len(tasks))))
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - begun
    for connection in free:
        connection.close()
    return load
