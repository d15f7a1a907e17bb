"""A worker that is a thread of the service itself: for an index that is open already."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from app.workers.messages import Answered, Desk, Job, Outcome


class ThreadWorker:
    """Computes at a desk in this process.

    Args:
        desk: where jobs are computed; shared by all threads.
        serving: what it serves.
    """

    def __init__(self, desk: Desk, serving: Mapping[str, Any]) -> None:
        self._desk = desk
        self._serving = serving

    @property
    def pid(self) -> None:
        """It has no process of its own."""
        return None

    async def start(self) -> Mapping[str, Any]:
        """It is ready."""
        return self._serving

    async def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
        """Compute jobs in a thread; each is answered in the event loop."""
        loop = asyncio.get_running_loop()

        def tell(place: int, outcome: Outcome) -> None:
            loop.call_soon_threadsafe(answered, place, outcome)

        await asyncio.to_thread(self._desk.compute, jobs, tell)

    async def close(self) -> None:
        """Nothing is held."""
