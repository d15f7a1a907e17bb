"""The one queue of the service: bounded, with a deadline, emptied greedily by whichever worker is free."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, Protocol

from app.errors import DeadlineExceededError, NotReadyError, QueueFullError
from app.workers.messages import Answered, Failure, Job, Outcome, Reply
from model.errors import DomainError, UnreadableError

logger = logging.getLogger(__name__)

# The STE takes 1.9 ms for one pattern, 3.1 for two, 7.4 for four and 22.6 for eight (one thread): more gain nothing.
MOST_TOGETHER = 4
_TRIES = 2
_RESTART_WAITS_S = (0.1, 1.0, 5.0)


class WorkerLostError(Exception):
    """A worker ended before it had answered everything."""


class Worker(Protocol):
    """Something that computes jobs, a few at a time."""

    @property
    def pid(self) -> int | None:
        """Of its process; None where it has none, or none now."""
        ...

    async def start(self) -> Mapping[str, Any]:
        """Make it ready, again after it was lost; returns what it serves.

        Raises:
            DomainError: it cannot be made ready.
        """
        ...

    async def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
        """Compute jobs; returns when all are answered.

        Raises:
            WorkerLostError: it ended.
        """
        ...

    async def close(self) -> None:
        """Let it end."""
        ...


class Observer(Protocol):
    """Is told what the queue does; the service's metrics are one."""

    def set_queue_length(self, waiting: int) -> None:
        """So many jobs wait now."""
        ...

    def record_batch(self, size: int) -> None:
        """A worker has taken so many jobs together."""
        ...

    def record_lost_worker(self) -> None:
        """A worker ended by itself."""
        ...


# Compared by identity: two equal jobs are two.
@dataclass(eq=False)
class _Entry:
    job: Job
    answer: "asyncio.Future[Outcome]"
    tries: int = 0


@dataclass
class Dispatcher:
    """Hands jobs to workers.

    Args:
        workers: what computes them.
        queue: jobs that may wait when no worker is free.
        queue_bytes: of uploads that may wait together; a larger one only where nothing else waits.
        deadline_s: waiting and computing together.
        observer: told what happens.
    """

    workers: Sequence[Worker]
    queue: int
    queue_bytes: int
    deadline_s: float
    observer: Observer
    _waiting: deque[_Entry] = field(default_factory=deque, init=False)
    _urgent: deque[_Entry] = field(default_factory=deque, init=False)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)
    _free: int = field(default=0, init=False)
    _closing: bool = field(default=False, init=False)
    _loops: "list[asyncio.Task[None]]" = field(default_factory=list, init=False)

    @property
    def waiting(self) -> int:
        """Jobs that no worker has taken yet."""
        return len(self._waiting) + len(self._urgent)

    async def start(self) -> Mapping[str, Any]:
        """Start the workers; returns what they serve.

        Raises:
            DomainError: one of them cannot be made ready.
        """
        # All of them end their start before any is closed: none may be left half begun.
        started = await asyncio.gather(*(worker.start() for worker in self.workers), return_exceptions=True)
        failed = next((each for each in started if isinstance(each, BaseException)), None)
        if failed is not None:
            await asyncio.gather(*(worker.close() for worker in self.workers))
            raise failed
        self._free = len(self.workers)
        self._loops = [asyncio.create_task(self._serve(worker)) for worker in self.workers]
        serving: Mapping[str, Any] = started[0]  # type: ignore[assignment]
        return serving

    async def run(self, job: Job, *, urgent: bool = False, deadline_s: float | None = None) -> Reply:
        """What comes of a job. A caller that is cancelled takes it out of the queue.

        Args:
            job: to be computed.
            urgent: whether it goes before all others, however many wait.
            deadline_s: in place of the queue's own.

        Raises:
            QueueFullError: the queue is full.
            DeadlineExceededError: no answer in time; a job that has not begun is dropped.
            NotReadyError: the service is being stopped.
            Exception: whatever the job raised.
        """
        entry = _Entry(job, asyncio.get_running_loop().create_future())
        allowed = self.deadline_s if deadline_s is None else deadline_s
        try:
            await self._enter(entry, urgent)
            outcome = await asyncio.wait_for(entry.answer, allowed)
        except TimeoutError:
            raise DeadlineExceededError(
                f"no answer within {allowed:g} seconds; try again, or send fewer points or pixels"
            ) from None
        finally:
            self._drop(entry)
        if isinstance(outcome, Failure):
            raise outcome.error()
        return outcome

    async def close(self) -> None:
        """Finish what was taken in, then end the workers."""
        self._closing = True
        async with self._changed:
            self._changed.notify_all()
        await asyncio.gather(*self._loops)
        await asyncio.gather(*(worker.close() for worker in self.workers))

    async def _enter(self, entry: _Entry, urgent: bool) -> None:
        if self._closing:
            raise NotReadyError("the service is being stopped; try again in a moment")
        if not urgent:
            self._refuse_too_much(entry)
        (self._urgent if urgent else self._waiting).append(entry)
        self.observer.set_queue_length(len(self._waiting))
        async with self._changed:
            self._changed.notify()

    def _refuse_too_much(self, entry: _Entry) -> None:
        if len(self._waiting) >= self.queue + self._free:
            raise QueueFullError("as many requests are waiting as may wait; try again in a moment")
        waiting = sum(each.job.size for each in self._waiting)
        if self._waiting and waiting + entry.job.size > self.queue_bytes:
            raise QueueFullError(
                "the uploads that are waiting fill the memory they may take; try again in a moment"
            )

    def _drop(self, entry: _Entry) -> None:
        """Forget an entry that nobody waits for any more, if no worker has taken it."""
        for line in (self._waiting, self._urgent):
            if entry in line:
                line.remove(entry)
                self.observer.set_queue_length(len(self._waiting))

    async def _serve(self, worker: Worker) -> None:
        """Keep one worker busy."""
        while batch := await self._next():
            self._free -= 1
            left = set(range(len(batch)))
            try:
                await worker.compute([each.job for each in batch], partial(self._answered, batch, left))
            except Exception as error:  # a loop that ends leaves its worker idle for good
                logger.error("%s", error, exc_info=not isinstance(error, WorkerLostError))
                self.observer.record_lost_worker()
                await self._again([entry for entry in batch if not entry.answer.done()])
                await self._restart(worker)
            self._free += bool(left)

    def _answered(self, batch: list[_Entry], left: set[int], place: int, outcome: Outcome) -> None:
        if left == {place}:  # before the last client hears of it, who may ask again at once
            self._free += 1
        left.discard(place)
        _answer(batch[place], outcome)

    async def _next(self) -> list[_Entry]:
        """What a free worker takes: its share of what waits, at once; nothing when the service ends."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._urgent or self._waiting or self._closing)
            if self._urgent:
                return [self._urgent.popleft()]
            # One that has ended a worker goes alone, so that it takes no others with it.
            alone = bool(self._waiting) and self._waiting[0].tries > 0
            share = 1 if alone else min(MOST_TOGETHER, -(-len(self._waiting) // len(self.workers)))
            batch = [self._waiting.popleft() for _ in range(share)]
        if batch:
            self.observer.record_batch(len(batch))
            self.observer.set_queue_length(len(self._waiting))
        return batch

    async def _restart(self, worker: Worker) -> None:
        """Start a lost worker until it is ready: what kept it from it may be mended meanwhile."""
        for wait_s in chain(_RESTART_WAITS_S, repeat(_RESTART_WAITS_S[-1])):
            try:
                await worker.start()
            except Exception as error:
                told = "a worker cannot start again: %s"
                logger.error(told, error, exc_info=not isinstance(error, DomainError))
            else:
                return
            if self._closing:
                return
            await asyncio.sleep(wait_s)

    async def _again(self, left: list[_Entry]) -> None:
        """Give what a lost worker left another try; what has ended two workers is refused."""
        for entry in reversed(left):
            entry.tries += 1
            if entry.tries < _TRIES:
                self._waiting.appendleft(entry)
            else:
                told = "the upload ended the process that read it: it is damaged, or of an unusual kind"
                _answer(entry, Failure.of(UnreadableError(told)))
        async with self._changed:
            self._changed.notify_all()


def _answer(entry: _Entry, outcome: Outcome) -> None:
    if not entry.answer.done():
        entry.answer.set_result(outcome)
