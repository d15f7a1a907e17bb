"""Workers as threads of the service itself, for an index that is already open, as in tests."""

import asyncio
from collections.abc import Sequence

from app.presentation.schemas.service import Provenance
from app.workers.interfaces import Handler
from app.workers.messages import AnyJob, BeginJob, DeliverOutcome, Outcome


class ThreadWorker:
    """A worker that is a thread of the service itself, for an index that is already open.

    Args:
        handler: handler of the jobs, shared by all threads.
        provenance: provenance of its answers.
    """

    def __init__(self, handler: Handler, provenance: Provenance) -> None:
        self._handler = handler
        self._provenance = provenance
        self._lost: asyncio.Future[None]

    @property
    def pid(self) -> None:
        """None: the worker has no process of its own."""
        return None

    @property
    def found_damage(self) -> bool:
        """False: nothing checks the index of a thread."""
        return False

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Never done: a thread cannot be lost without the service."""
        return self._lost

    async def start(self) -> Provenance:
        """Return the provenance; there is nothing to start."""
        self._lost = asyncio.get_running_loop().create_future()
        return self._provenance

    async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
        """Run jobs in a thread, and deliver each outcome in the event loop."""
        loop = asyncio.get_running_loop()

        def deliver_in_loop(index: int, outcome: Outcome) -> None:
            loop.call_soon_threadsafe(deliver, index, outcome)

        def begin_in_loop(index: int) -> None:
            loop.call_soon_threadsafe(begin, index)

        await asyncio.to_thread(self._handler.handle, jobs, deliver_in_loop, begin_in_loop)

    async def kill(self) -> None:
        """Do nothing: a thread cannot be ended."""

    async def close(self) -> None:
        """Do nothing: the worker has no resources."""
