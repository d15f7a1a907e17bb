"""Where requests are computed: a few threads behind a bounded queue, so that the event loop never waits."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from app.errors import BusyError, DeadlineError
from app.logs import carried

T = TypeVar("T")


class Execution:
    """A thread pool that refuses what it cannot take.

    Args:
        workers: computed at the same time.
        queue: waiting beyond these.
        deadline_s: waiting and computing together.
    """

    def __init__(self, workers: int, queue: int, deadline_s: float) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="dd2d")
        self._places = BoundedSemaphore(workers + queue)
        self._deadline_s = deadline_s

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, computed in a thread.

        Raises:
            BusyError: the queue is full.
            DeadlineError: no result in time; work that has not begun is dropped.
            Exception: whatever `work` raises.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError("as many requests are waiting as may wait; try again in a moment")
        future = self._pool.submit(carried(work))
        # Called when the work ends or is cancelled before it began: a place is free only then.
        future.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._deadline_s)
        except TimeoutError:
            raise DeadlineError(
                f"no answer within {self._deadline_s:g} seconds; try again, or send fewer points or pixels"
            ) from None

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
