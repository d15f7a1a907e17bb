"""One limit for the bytes of all bodies that are arriving: many uploads that never end must not fill the memory."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class ArrivingBody:
    """A body that is arriving, and what it holds of the budget."""

    def __init__(self, budget: "BodyBudget") -> None:
        self._budget = budget
        self._timer: asyncio.Timeout | None = None
        self.size = 0
        self.last_progress_s = asyncio.get_running_loop().time()
        self.is_revoked = False

    def add(self, size: int) -> None:
        """Count bytes that have arrived. If the budget is exhausted, a body is revoked, which may be this one."""
        self._budget.add(self, size)

    def note_progress(self) -> None:
        """Note that enough has arrived for the body not to count as stalled."""
        self.last_progress_s = asyncio.get_running_loop().time()

    @contextmanager
    def wait_with(self, timer: asyncio.Timeout) -> Iterator[None]:
        """Let the timer expire if the body is revoked during the block."""
        self._timer = timer
        try:
            yield
        finally:
            self._timer = None

    def revoke(self) -> None:
        """Have the reader give up, so that its memory is freed."""
        self.is_revoked = True
        if self._timer is not None:
            self._timer.reschedule(0.0)


class BodyBudget:
    """A limit for the bytes of all bodies that are arriving.

    When it is exceeded, the body is revoked for which the product of its size and the time since its latest progress is
    largest. So clients that stall make room for those that send, and small requests are always served.

    Args:
        max_bytes: bytes of all bodies together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bodies: set[ArrivingBody] = set()

    @property
    def used_bytes(self) -> int:
        """What has arrived of the bodies that are still arriving."""
        return sum(body.size for body in self._bodies)

    @contextmanager
    def arriving(self) -> Iterator[ArrivingBody]:
        """Count a body for the duration of the block."""
        body = ArrivingBody(self)
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._bodies.discard(body)

    def add(self, body: ArrivingBody, size: int) -> None:
        """Count bytes that have arrived of a body."""
        body.size += size
        while self.used_bytes > self._max_bytes:
            now = asyncio.get_running_loop().time()
            stalled = max(
                self._bodies, key=lambda each: ((now - each.last_progress_s) * each.size, each.size)
            )
            self._bodies.discard(stalled)
            stalled.revoke()
