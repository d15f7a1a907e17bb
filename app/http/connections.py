"""The open connections: no more than the limit for long, and none that keeps the service waiting for long.

When the limit is reached, the connections whose clients have kept the service waiting for the longest time are closed
to make room, so that idle and slow connections, however many, keep nobody out. There is no limit for each address: many
people share the address of a laboratory or a proxy, and whoever holds many connections without using them loses those
first in any case.
"""

import asyncio
import resource
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import Protocol

from app.http.read_turns import ReadTurns
from app.settings import Settings

# Files of the index and of batches, and the pipes of the workers.
RESERVED_FILES = 256
MAX_BACKLOG = 4096
MAX_SWEEP_S = 1.0
# A connection that has just been opened has this long to send its request.
TRIM_S = 0.1


@dataclass(frozen=True)
class ConnectionLimits:
    """What a client may use.

    Attributes:
        max_connections: connections open at once.
        backlog: connections that may wait to be accepted, and that may be open beyond the others for a moment.
        idle_s: time until the head of a request is complete, from its first byte or without any.
        stall_s: time in which a client must read 64 KiB of a response, or all that is left of it.
        max_unread_bytes: bytes of responses that clients have not read, over all connections.
    """

    max_connections: int
    backlog: int
    idle_s: float
    stall_s: float
    max_unread_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings) -> "ConnectionLimits":
        """Return the limits of the settings, with fewer connections if the process may not open enough files."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        affordable = max(3, files - RESERVED_FILES)
        max_connections = min(settings.max_connections, affordable // 3)
        return cls(
            max_connections=max_connections,
            # So many may have been accepted before the first of them is known here, and be open in excess.
            backlog=min(MAX_BACKLOG, (affordable - max_connections) // 2),
            idle_s=settings.idle_s,
            stall_s=settings.stall_s,
            max_unread_bytes=settings.body_bytes,
        )


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard one: the soft one, often 1024, is meant for programs with `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Connection(Protocol):
    """What the limits need to know of a connection."""

    def waited_s(self, now: float) -> float | None:
        """Return how long the service has waited for the client; None while the client waits for the service."""

    def unread_bytes(self) -> int:
        """Return the size of what the client has not read yet."""

    def enforce_limits(self, now: float) -> None:
        """Close the connection if the client has exceeded a time limit."""

    def close_for_others(self) -> None:
        """Close the connection at once, with a 503 if a request has begun to arrive."""


class OpenConnections:
    """The open connections of one server.

    Args:
        limits: the limits.

    Attributes:
        fills_queue: whether all jobs of an address would be refused, because it fills the queue.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.fills_queue: Callable[[str], bool] = lambda _: False
        self.turns = ReadTurns()
        self._connections: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._trim: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        """Add a connection. If there are too many, those that have waited for longer than `TRIM_S` are closed."""
        self._connections.add(connection)
        if self._timer is None:
            self._schedule_sweep()
        if len(self) >= self.limits.max_connections + self.limits.backlog:
            self._close_slowest(0.0)
        self._schedule_trim()

    def are_all_busy(self) -> bool:
        """Whether there are too many connections, and nearly all clients wait for the service."""
        if len(self) <= self.limits.max_connections:
            return False
        now = asyncio.get_running_loop().time()
        busy = sum(each.waited_s(now) is None for each in self._connections)
        return busy >= self.limits.max_connections

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed or about to be."""
        self._connections.discard(connection)

    def _schedule_trim(self) -> None:
        if self._trim is None and len(self) > self.limits.max_connections:
            loop = asyncio.get_running_loop()
            self._trim = loop.call_later(TRIM_S, self._trim_connections, loop.time() + TRIM_S)

    def _trim_connections(self, due: float) -> None:
        self._trim = None
        late_s = asyncio.get_running_loop().time() - due  # in which nobody was read
        self._close_slowest(TRIM_S + late_s)
        self._schedule_trim()

    def _close_slowest(self, min_waited_s: float) -> None:
        now = asyncio.get_running_loop().time()
        waited = ((each.waited_s(now), each) for each in self._connections)
        waiting = [(s, each) for s, each in waited if s is not None and s >= min_waited_s]
        number = len(self) - self.limits.max_connections
        for _, connection in nlargest(number, waiting, key=itemgetter(0)):
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        connection.close_for_others()

    def _schedule_sweep(self) -> None:
        delay_s = min(MAX_SWEEP_S, self.limits.idle_s / 4, self.limits.stall_s / 4)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            connection.enforce_limits(now)
        unread = {each: each.unread_bytes() for each in self._connections}
        while sum(unread.values()) > self.limits.max_unread_bytes:
            largest = max(unread, key=unread.__getitem__)
            del unread[largest]
            self._close(largest)
        self._timer = None
        if self._connections:
            self._schedule_sweep()
