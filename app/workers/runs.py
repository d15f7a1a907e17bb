"""What the workers compute at the moment, and when it has to end."""

import time
from collections import Counter
from collections.abc import Sequence

from app.workers.interfaces import LossReason
from app.workers.job_queue import JobQueue, QueuedJob

QUICK_S = 1.0
"""A job that takes longer is slow."""

LOSSES: dict[LossReason, str] = {
    "exited": "A worker exited while it computed its",
    "deadline": "A worker was ended at the deadline of its",
    "abandoned": "A worker was ended because nobody awaited its",
    "slow": "A worker was ended because quicker jobs waited; queued again:",
}
"""What the log says of a lost worker, before the class of its job."""


class Run:
    """Jobs that a worker computes together."""

    def __init__(self, batch: list[QueuedJob]) -> None:
        self.batch = batch
        self.pending = set(range(len(batch)))
        self.current = batch[0]
        self.begun = self._charged = time.monotonic()
        self.ended: tuple[QueuedJob, LossReason] | None = None

    @property
    def age_s(self) -> float:
        """For how long the current job has been computed."""
        return time.monotonic() - self.begun

    def begin(self, index: int, queue: JobQueue) -> None:
        """Note that another job of the batch is computed from now on."""
        self.record(queue)
        self.current, self.begun = self.batch[index], time.monotonic()

    def record(self, queue: JobQueue) -> None:
        """Record how long the current job took."""
        self.charge(queue)
        queue.record_job(self.current.flow, self.age_s)

    def charge(self, queue: JobQueue) -> None:
        """Charge the time since the last call to the client and the kind of the current job."""
        now = time.monotonic()
        queue.charge(self.current.flow, now - self._charged)
        self._charged = now

    @property
    def is_slow(self) -> bool:
        """Whether the current job is a slow one."""
        return self.current.is_slow or self.age_s >= QUICK_S


def find_crowding_client(runs: Sequence[Run], workers: int) -> str | None:
    """Return the client whose jobs all workers but one compute, if there is one; slow jobs are limited otherwise."""
    clients = Counter(run.current.client for run in runs if not run.is_slow)
    return next((client for client, count in clients.items() if count == workers - 1), None)


def find_reason_to_end(run: Run, runs: Sequence[Run], queue: JobQueue, max_slow: int) -> LossReason | None:
    """Return why a worker should be ended with the job that it computes, if it should.

    A job that begins shortly before its deadline has a second: most end by themselves, which costs less.

    Args:
        run: what the worker computes.
        runs: what all workers compute.
        queue: the jobs that wait.
        max_slow: how many workers may compute slow jobs while quick ones wait.
    """
    if run.age_s < QUICK_S:
        return None
    if run.current.outcome.done():
        return "deadline" if time.monotonic() >= run.current.deadline else "abandoned"
    slow = [each for each in runs if each.is_slow]
    if run.current.is_slow or len(slow) <= max_slow:
        return None
    is_newest = run.begun == max(each.begun for each in slow if not each.current.is_slow)
    return "slow" if is_newest and queue.is_held_up_by(run.current) else None
