"""The service's only queue: bounded, with a deadline; any free worker takes as many jobs as it can."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Protocol, cast

from app.errors import DeadlineExceededError, NotReadyError, QueueFullError
from app.presentation.schemas.service import Provenance
from app.workers.messages import AnyJob, DeliverOutcome, Failure, Job, Outcome, ReplyT
from model.errors import DomainError, UnreadableError

logger = logging.getLogger(__name__)

# The STE takes 1.9 ms for one pattern, 3.1 for two, 7.4 for four and 22.6 for eight (one thread): larger batches gain
# nothing.
MAX_BATCH = 4
_MAX_TRIES = 2
_RESTART_DELAYS_S = (0.1, 1.0, 5.0)


class WorkerLostError(Exception):
    """A worker exited before it had answered every job."""


class Worker(Protocol):
    """Something that runs jobs, a few at a time."""

    @property
    def pid(self) -> int | None:
        """Id of the worker's process; None if there is currently none."""
        ...

    async def start(self) -> Provenance:
        """Start the worker, or restart it after a crash, and return the provenance of its answers.

        Raises:
            DomainError: it cannot be made ready.
        """
        ...

    async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome) -> None:
        """Run jobs; return when the outcomes of all have been delivered.

        Raises:
            WorkerLostError: it exited.
        """
        ...

    async def close(self) -> None:
        """Stop the worker."""
        ...


class Handler(Protocol):
    """Runs jobs and delivers their outcomes, such as `app.workers.handlers.JobHandler`."""

    def handle(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome) -> None:
        """Run jobs that were queued together, and deliver each outcome as soon as it is known."""
        ...


class WorkerObserver(Protocol):
    """Observes the workers, such as the metrics of the service."""

    def record_batch(self, size: int) -> None:
        """Record the number of jobs that a worker ran together."""
        ...

    def record_lost_worker(self) -> None:
        """Record that a worker exited unexpectedly."""
        ...


# Compared by identity: two equal jobs are two entries.
@dataclass(eq=False)
class _Entry:
    job: AnyJob
    outcome: "asyncio.Future[Outcome]"
    tries: int = 0


@dataclass
class Dispatcher:
    """Assigns jobs to workers.

    Args:
        workers: the workers.
        queue: how many jobs may wait while no worker is free.
        queue_bytes: size of the uploads that may wait together; a larger upload is accepted if nothing else waits.
        deadline_s: time limit for waiting and computing together.
        observer: observes the workers.
    """

    workers: Sequence[Worker]
    queue: int
    queue_bytes: int
    deadline_s: float
    observer: WorkerObserver
    _waiting: deque[_Entry] = field(default_factory=deque, init=False)
    _urgent: deque[_Entry] = field(default_factory=deque, init=False)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)
    _free_workers: int = field(default=0, init=False)
    _is_closing: bool = field(default=False, init=False)
    _loops: "list[asyncio.Task[None]]" = field(default_factory=list, init=False)

    @property
    def queue_length(self) -> int:
        """Number of jobs that no worker has taken yet, excluding urgent ones."""
        return len(self._waiting)

    async def start(self) -> Provenance:
        """Start the workers, and return the provenance of their answers.

        Raises:
            DomainError: one of them cannot be made ready.
        """
        # All starts end before any worker is closed: none may be left half started.
        started = await asyncio.gather(*(worker.start() for worker in self.workers), return_exceptions=True)
        error = next((each for each in started if isinstance(each, BaseException)), None)
        if error is not None:
            await asyncio.gather(*(worker.close() for worker in self.workers))
            raise error
        self._free_workers = len(self.workers)
        self._loops = [asyncio.create_task(self._serve(worker)) for worker in self.workers]
        return cast("Provenance", started[0])

    async def run(self, job: Job[ReplyT], *, urgent: bool = False, deadline_s: float | None = None) -> ReplyT:
        """Run a job and return its reply. If the caller is canceled, the job leaves the queue.

        Args:
            job: the job.
            urgent: whether the job goes before all others, even if the queue is full.
            deadline_s: a time limit in place of the queue's own.

        Raises:
            QueueFullError: the queue is full.
            DeadlineExceededError: there is no outcome in time; a job that has not begun is dropped.
            NotReadyError: the service is shutting down.
            Exception: the error that the job met.
        """
        entry = _Entry(cast("AnyJob", job), asyncio.get_running_loop().create_future())
        time_limit_s = self.deadline_s if deadline_s is None else deadline_s
        try:
            await self._enqueue(entry, urgent)
            outcome = await asyncio.wait_for(entry.outcome, time_limit_s)
        except TimeoutError:
            raise DeadlineExceededError(
                f"No answer was ready within {time_limit_s:g} seconds; retry, or send fewer points or pixels."
            ) from None
        finally:
            self._drop(entry)
        if isinstance(outcome, Failure):
            raise outcome.to_error()
        return cast("ReplyT", outcome)  # each class of job declares the class of its reply

    async def close(self) -> None:
        """Finish the accepted jobs, then stop the workers."""
        self._is_closing = True
        async with self._changed:
            self._changed.notify_all()
        await asyncio.gather(*self._loops)
        await asyncio.gather(*(worker.close() for worker in self.workers))

    async def _enqueue(self, entry: _Entry, urgent: bool) -> None:
        if self._is_closing:
            raise NotReadyError("The service is shutting down; retry in a moment.")
        if not urgent:
            self._check_limits(entry)
        (self._urgent if urgent else self._waiting).append(entry)
        async with self._changed:
            self._changed.notify()

    def _check_limits(self, entry: _Entry) -> None:
        if len(self._waiting) >= self.queue + self._free_workers:
            raise QueueFullError("The request queue is full; retry in a moment.")
        waiting_bytes = sum(each.job.upload_bytes for each in self._waiting)
        if self._waiting and waiting_bytes + entry.job.upload_bytes > self.queue_bytes:
            raise QueueFullError("The waiting uploads fill the memory reserved for them; retry in a moment.")

    def _drop(self, entry: _Entry) -> None:
        """Remove an entry that nobody awaits any more, unless a worker has taken it."""
        for line in (self._waiting, self._urgent):
            if entry in line:
                line.remove(entry)

    async def _serve(self, worker: Worker) -> None:
        """Keep one worker busy until the service closes."""
        while batch := await self._take_batch():
            self._free_workers -= 1
            pending = set(range(len(batch)))
            try:
                await worker.compute([entry.job for entry in batch], partial(self._deliver, batch, pending))
            except Exception as error:  # if this loop ended, the worker would stay idle for good
                logger.error("%s", error, exc_info=not isinstance(error, WorkerLostError))
                self.observer.record_lost_worker()
                await self._retry([entry for entry in batch if not entry.outcome.done()])
                await self._restart(worker)
            self._free_workers += bool(pending)

    def _deliver(self, batch: list[_Entry], pending: set[int], index: int, outcome: Outcome) -> None:
        pending.discard(index)
        if not pending:
            # Before the last client gets its answer, after which it may send another request.
            self._free_workers += 1
            self.observer.record_batch(len(batch))
        _resolve(batch[index], outcome)

    async def _take_batch(self) -> list[_Entry]:
        """Return what a free worker computes next: its share of the queue; nothing when the service closes."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._urgent or self._waiting or self._is_closing)
            if self._urgent:
                return [self._urgent.popleft()]
            # A job that has crashed a worker runs alone, so that no other job is lost with it.
            alone = bool(self._waiting) and self._waiting[0].tries > 0
            share = 1 if alone else min(MAX_BATCH, -(-len(self._waiting) // len(self.workers)))
            return [self._waiting.popleft() for _ in range(share)]

    async def _restart(self, worker: Worker) -> None:
        """Start a lost worker; try again until it is ready, since the cause may be repaired meanwhile."""
        for delay_s in chain(_RESTART_DELAYS_S, repeat(_RESTART_DELAYS_S[-1])):
            try:
                await worker.start()
            except Exception as error:
                exc_info = not isinstance(error, DomainError)
                logger.error("Could not restart a worker: %s", error, exc_info=exc_info)
            else:
                return
            if self._is_closing:
                return
            await asyncio.sleep(delay_s)

    async def _retry(self, entries: list[_Entry]) -> None:
        """Put the unanswered jobs of a lost worker back; one that has crashed two workers fails."""
        for entry in reversed(entries):
            entry.tries += 1
            if entry.tries < _MAX_TRIES:
                self._waiting.appendleft(entry)
            else:
                error = UnreadableError(
                    "The upload crashed the process that read it; it is damaged or in an unusual format."
                )
                _resolve(entry, Failure.from_error(error))
        async with self._changed:
            self._changed.notify_all()


def _resolve(entry: _Entry, outcome: Outcome) -> None:
    if not entry.outcome.done():
        entry.outcome.set_result(outcome)
