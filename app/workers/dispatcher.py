"""Assign the waiting jobs to the workers, keep the workers alive, and end what computes too long.

A job that nobody awaits any more, because its deadline has passed or its client has left, is ended together with its
worker, which takes a third of a second to replace. The jobs that were taken together with it are computed by another
worker. A job that takes longer than a second while it keeps the last worker from quick ones is ended too, and computed
again as a slow one: slow jobs leave one worker free. With two workers or more, slow or hanging jobs therefore keep no
quick one waiting.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, cast

from app.errors import DeadlineExceededError, NotReadyError
from app.observability.logging import with_request_id
from app.presentation.schemas.service import Provenance
from app.workers.interfaces import LossReason, Worker, WorkerLostError, WorkerObserver
from app.workers.job_queue import JobQueue, QueuedJob, describe_crash
from app.workers.messages import AnyJob, Failure, Job, Outcome, ReplyT
from app.workers.runs import LOSSES, Run, find_crowding_client, find_reason_to_end
from model.errors import CheckpointError, DomainError, IndexDamagedError, IndexUnavailableError

logger = logging.getLogger(__name__)

_MAX_TRIES = 2
_RESTART_DELAYS_S = (0.1, 1.0, 5.0)
_CHECK_S = 0.1
_STEPS_OF_A_DELIVERY = 8  # of the event loop, at most

_CLOSING = "The service is shutting down; retry in a moment."
_ABSENT = "No worker is running at the moment; retry in a few seconds."
_DAMAGED = "The model or the index is damaged; the service's log names the file."


@dataclass
class Dispatcher:
    """Assigns jobs to workers.

    Args:
        workers: the workers.
        queue: how many jobs may wait while no worker is free.
        queue_bytes: size of the uploads that may wait together; a larger upload is accepted if nothing else waits.
        deadline_s: time limit for waiting and computing together.
        observer: observes the workers.
        max_absence_s: how long jobs wait, and are accepted, while there is no worker at all.

    Attributes:
        waiting: the jobs that no worker has taken yet.
    """

    workers: Sequence[Worker]
    queue: int
    queue_bytes: int
    deadline_s: float
    observer: WorkerObserver
    max_absence_s: float = 2.0
    waiting: JobQueue = field(init=False)
    _idle: "dict[Worker, asyncio.Future[Run | None]]" = field(default_factory=dict, init=False)
    _runs: list[Run] = field(default_factory=list, init=False)
    _is_closing: bool = field(default=False, init=False)
    _damage: Failure | None = field(default=None, init=False)
    _loops: "list[asyncio.Task[None]]" = field(default_factory=list, init=False)
    _absent_since: float | None = field(default=None, init=False)
    _next_try: asyncio.TimerHandle | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.waiting = JobQueue(self.queue, self.queue_bytes)

    @property
    def running_workers(self) -> int:
        """Number of workers that are running."""
        return sum(not worker.lost.done() for worker in self.workers) if self._loops else 0

    async def start(self) -> Provenance:
        """Start the workers, and return the provenance of their answers.

        Raises:
            DomainError: one of them cannot be made ready.
        """
        # All starts end before any worker is closed: none may be left half started.
        started = await asyncio.gather(*(worker.start() for worker in self.workers), return_exceptions=True)
        if error := next((each for each in started if isinstance(each, BaseException)), None):
            await asyncio.gather(*(worker.close() for worker in self.workers))
            raise error
        self._loops = [asyncio.create_task(self._serve(worker)) for worker in self.workers]
        return cast("Provenance", started[0])

    async def run(
        self, job: Job[ReplyT], *, client: str = "", urgent: bool = False, deadline_s: float | None = None
    ) -> ReplyT:
        """Run a job and return its reply. If the caller is canceled, the job leaves the queue, or is ended soon.

        Args:
            job: the job.
            client: whose job it is: clients share the workers fairly.
            urgent: whether the job goes before all others, even if the queue is full.
            deadline_s: a time limit in place of the dispatcher's own.

        Raises:
            QueueFullError: the queue is full.
            DeadlineExceededError: there is no outcome in time.
            NotReadyError: the service is shutting down, or no worker can be started.
            IndexDamagedError: a worker has found damage, and none has been restarted without since.
            Exception: the error that the job met.
        """
        time_limit_s = self.deadline_s if deadline_s is None else deadline_s
        future, deadline = asyncio.get_running_loop().create_future(), time.monotonic() + time_limit_s
        entry = QueuedJob(cast("AnyJob", job), future, deadline, client, urgent)
        try:
            self._enqueue(entry)
            outcome = await asyncio.wait_for(entry.outcome, time_limit_s)
        except TimeoutError:
            raise DeadlineExceededError(
                f"No answer was ready within {time_limit_s:g} seconds; retry, or send fewer points or pixels."
            ) from None
        finally:
            self.waiting.remove(entry)
        if isinstance(outcome, Failure):
            raise outcome.to_error()
        return cast("ReplyT", outcome)  # each class of job declares the class of its reply

    async def close(self) -> None:
        """Finish the accepted jobs, each until its deadline at most, then stop the workers."""
        self._is_closing = True
        self._assign_soon()
        await asyncio.gather(*self._loops)
        self.waiting.fail_all(NotReadyError(_CLOSING))
        await asyncio.gather(*(worker.close() for worker in self.workers))

    def _enqueue(self, entry: QueuedJob) -> None:
        if self._is_closing:
            raise NotReadyError(_CLOSING)
        if self._damage is not None:
            raise self._damage.to_error()
        if self._is_absent:
            raise NotReadyError(_ABSENT)
        # A worker is free before the last client gets its answer, after which it may send another request.
        busy = sum(bool(run.pending) for run in self._runs)
        self.waiting.add(entry, self.running_workers - busy)
        self._assign_soon()

    def _assign_soon(self) -> None:
        """Assign jobs once all that arrive at the same time are there, so that the workers share them."""
        asyncio.get_running_loop().call_soon(self._assign)

    def _assign(self) -> None:
        """Give each idle worker its share of the waiting jobs, or nothing at all when the service closes."""
        for run in self._runs:
            run.charge(self.waiting)
        for worker, share in list(self._idle.items()):
            slow = sum(run.is_slow for run in self._runs)
            crowding = find_crowding_client(self._runs, len(self.workers))
            batch = self.waiting.take(len(self.workers), with_slow=slow < self._max_slow, crowding=crowding)
            if batch or self._is_over:
                del self._idle[worker]
                new = Run(batch) if batch else None
                self._runs += [new] if new else []
                share.set_result(new)
        if self._next_try is not None:
            self._next_try.cancel()
        if self._idle and self.waiting.has_jobs:  # which are kept from the last worker, for now
            self._next_try = asyncio.get_running_loop().call_later(_CHECK_S, self._assign)

    @property
    def _max_slow(self) -> int:
        """How many workers may compute slow jobs at once: all but one, unless there is only one."""
        return max(len(self.workers) - 1, 1)

    @property
    def _is_over(self) -> bool:
        return self._is_closing and not self.waiting.has_jobs

    async def _serve(self, worker: Worker) -> None:
        """Keep one worker alive and busy until the service closes."""
        while not self._is_over:
            if worker.lost.done():
                await self._restart(worker)
            elif run := await self._wait_for_run(worker):
                await self._compute(worker, run)

    async def _wait_for_run(self, worker: Worker) -> Run | None:
        """Return what an idle worker computes next; nothing if it exits, or when the service closes."""
        share: asyncio.Future[Run | None] = asyncio.get_running_loop().create_future()
        self._idle[worker] = share
        self._assign_soon()
        either: set[asyncio.Future[Any]] = {share, worker.lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._idle.pop(worker, None)
        run = share.result() if share.done() else None
        if not worker.lost.done():
            return run
        if run is not None:
            self._runs.remove(run)
            self.waiting.put_back(run.batch)
        self._record_loss("exited", "An idle worker exited")
        return None

    async def _compute(self, worker: Worker, run: Run) -> None:
        jobs = [entry.job for entry in run.batch]
        deliver, begin = partial(self._deliver, run), partial(run.begin, queue=self.waiting)
        work = asyncio.create_task(worker.compute(jobs, deliver, begin))
        try:
            while not (await asyncio.wait({work}, timeout=_CHECK_S))[0]:
                await self._end_if_needed(worker, run)
            work.result()
        except Exception as error:  # if the loop of the worker ended, it would stay idle for good
            self._recover(run, error)
            await worker.kill()
        finally:
            self._runs.remove(run)
            run.record(self.waiting)

    async def _end_if_needed(self, worker: Worker, run: Run) -> None:
        for _ in range(_STEPS_OF_A_DELIVERY):  # what the worker has sent may not have been read yet
            await asyncio.sleep(0)
        reason = find_reason_to_end(run, self._runs, self.waiting, self._max_slow)
        if reason is not None and run.ended is None and run.pending:
            run.ended = run.current, reason
            await worker.kill()

    def _deliver(self, run: Run, index: int, outcome: Outcome) -> None:
        run.pending.discard(index)
        if not run.pending:
            self.observer.record_batch(len(run.batch))
        run.batch[index].resolve(self._damage or outcome)

    def _recover(self, run: Run, error: Exception) -> None:
        """Put the unanswered jobs of a lost worker back; one that has crashed two workers fails."""
        culprit, reason = run.ended or (run.current, "exited")
        if reason == "exited":
            culprit.tries += 1
        elif reason == "slow":
            self.waiting.record_slow(culprit)
        if culprit.tries == _MAX_TRIES:
            culprit.fail(describe_crash(culprit.job))
        self.waiting.put_back([entry for entry in run.batch if not entry.outcome.done()])
        self._assign_soon()
        with with_request_id(culprit.job.request_id):
            self._record_loss(reason, f"{LOSSES[reason]} {type(culprit.job).__name__}", error)

    def _record_loss(self, reason: LossReason, message: str, error: Exception | None = None) -> None:
        self.observer.record_lost_worker(reason)
        message = f"{message}: {error}" if reason == "exited" and error else f"{message}."
        logger.error(message, exc_info=None if isinstance(error, WorkerLostError) else error)

    async def _restart(self, worker: Worker) -> None:
        """Start a lost worker; try again until it is ready, since the cause may be repaired meanwhile."""
        await worker.kill()  # which tells why it has exited
        if worker.found_damage:
            self._set_damage(IndexDamagedError(_DAMAGED))
        for delay_s in chain(_RESTART_DELAYS_S, repeat(_RESTART_DELAYS_S[-1])):
            try:
                await self._await_unless_over(worker.start())
            except Exception as error:
                logger.error(
                    "Could not restart a worker: %s", error, exc_info=not isinstance(error, DomainError)
                )
                if self._damage is not None and isinstance(error, IndexUnavailableError | CheckpointError):
                    self._set_damage(error)
            else:
                self._absent_since = None
                self._set_damage(None)
                return
            await self._await_unless_over(asyncio.sleep(delay_s))
            if self._is_over:
                return

    def _set_damage(self, error: DomainError | None) -> None:
        """Answer with this error all that waits, and all that comes until a worker has been restarted."""
        self._damage = None if error is None else Failure.from_error(error)
        self.observer.record_damage(error is not None)
        if error is not None:
            self.waiting.fail_all(error)

    async def _await_unless_over(self, work: Coroutine[Any, Any, object]) -> None:
        """Await a step of a restart; cancel it when the service closes and no job waits for a worker any more."""
        task = asyncio.create_task(work)
        while not (await asyncio.wait({task}, timeout=_CHECK_S))[0]:
            if self._is_absent:
                self.waiting.fail_all(NotReadyError(_ABSENT))
            if self._is_over:
                task.cancel()
        if not task.cancelled():
            task.result()

    @property
    def _is_absent(self) -> bool:
        """Whether there is no worker, and none is likely to return soon."""
        if self.running_workers > 0:
            return False
        if self._absent_since is None:
            self._absent_since = time.monotonic()
        return time.monotonic() - self._absent_since > self.max_absence_s
