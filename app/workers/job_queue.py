"""The jobs that wait for a worker: how many may wait, and which of them is next.

The jobs of one client that are of one class and roughly one size form a flow. The next job is one of the flow that has
used the least worker time lately, and in a full queue the newest job of the longest flow makes room for one of a
shorter flow. So whoever sends many jobs, or slow ones, waits behind those who send few. Within a flow, jobs keep their
order.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from app.errors import NotReadyError, QueueFullError
from app.workers.messages import AnyJob, Failure, Outcome, PredictBatchItemJob
from model.errors import DomainError, UnreadableError

# The STE takes 1.9 ms for one pattern, 3.1 for two, 7.4 for four and 22.6 for eight (one thread): larger batches gain
# nothing.
MAX_BATCH = 4
# Larger uploads may be frames, which take much longer than the STE, and stay in memory until the last of them is read.
_MAX_BATCH_UPLOAD_BYTES = 64 * 1024

_HALF_LIFE_S = 10.0
_MAX_FLOWS = 1000

Flow = tuple[str, type, int]


@dataclass(eq=False)  # compared by identity: two equal jobs are two entries
class QueuedJob:
    """A job whose outcome somebody awaits.

    Attributes:
        job: the job.
        outcome: its outcome; canceled if nobody awaits it any more.
        deadline: until when it is awaited, in seconds of the monotonic clock.
        client: whose job it is.
        is_urgent: whether it goes before all others, even if the queue is full.
        is_slow: whether it has been ended once because it held up others.
        tries: how many workers it has crashed.
    """

    job: AnyJob
    outcome: "asyncio.Future[Outcome]"
    deadline: float
    client: str = ""
    is_urgent: bool = False
    is_slow: bool = False
    tries: int = 0

    @property
    def flow(self) -> Flow:
        """The client, the class of the job, and its size within a factor of four."""
        return self.client, type(self.job), self.job.upload_bytes.bit_length() // 2

    def resolve(self, outcome: Outcome) -> None:
        """Set the outcome if it is still awaited."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: DomainError) -> None:
        """Set an error as the outcome if it is still awaited."""
        self.resolve(Failure.from_error(error))


@dataclass
class JobQueue:
    """The waiting jobs.

    Args:
        limit: how many may wait, beyond those that free workers will take.
        limit_bytes: size of the uploads that may wait together; a larger upload may wait alone.
    """

    limit: int
    limit_bytes: int
    _entries: list[QueuedJob] = field(default_factory=list, init=False)
    _used: dict[Flow, tuple[float, float]] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        """Return the number of waiting jobs, excluding urgent ones."""
        return sum(not entry.is_urgent for entry in self._entries)

    @property
    def has_jobs(self) -> bool:
        """Whether any job waits."""
        return bool(self._entries)

    def add(self, entry: QueuedJob, free_workers: int) -> None:
        """Add a job.

        Raises:
            QueueFullError: there is no room, and the job's own flow is the longest.
        """
        self._entries.append(entry)
        if entry.is_urgent:
            return
        while len(self) > self.limit + free_workers:
            self._make_room(entry, Counter(each.flow for each in self._entries), "The request queue is full")
        while len(self) > 1 and sum(each.job.upload_bytes for each in self._entries) > self.limit_bytes:
            sizes: Counter[Flow] = Counter()
            for each in self._entries:
                sizes[each.flow] += each.job.upload_bytes
            self._make_room(entry, sizes, "The waiting uploads fill the memory reserved for them")

    def _make_room(self, entry: QueuedJob, shares: "Counter[Flow]", problem: str) -> None:
        """Remove the newest job of the flow with the largest share.

        Raises:
            QueueFullError: it is the entry that was added just now.
        """
        error = QueueFullError(f"{problem}; retry in a moment.")
        newest = [each for each in reversed(self._entries) if not each.is_urgent]
        removed = max(newest, key=lambda each: shares[each.flow])
        self._entries.remove(removed)
        if removed is entry:
            raise error
        removed.fail(error)

    def put_back(self, entries: list[QueuedJob]) -> None:
        """Put jobs back that were taken but not computed; they go before others of their flow."""
        self._entries[:0] = entries

    def remove(self, entry: QueuedJob) -> None:
        """Remove a job that nobody awaits any more, unless it has been taken."""
        if entry in self._entries:
            self._entries.remove(entry)

    def fail_all(self, error: DomainError) -> None:
        """Let all waiting jobs fail."""
        entries, self._entries = self._entries, []
        for entry in entries:
            entry.fail(error)

    def is_held_up_by(self, running: QueuedJob) -> bool:
        """Return whether a job waits that is not known to be slow; patterns of one batch do not hold each other up."""
        others = (entry for entry in self._entries if not entry.is_slow)
        if isinstance(running.job, PredictBatchItemJob):
            return any(entry.flow != running.flow for entry in others)
        return any(others)

    def take(self, workers: int, *, with_slow: bool) -> list[QueuedJob]:
        """Return what a free worker computes next, and remove it from the queue.

        Args:
            workers: how many workers share the waiting jobs.
            with_slow: whether it may be a job that is known to be slow.
        """
        ready = [entry for entry in self._entries if with_slow or not entry.is_slow]
        if not ready:
            return []
        used = {flow: self._used_s(flow) for flow in {entry.flow for entry in ready}}
        ready.sort(key=lambda entry: (not entry.is_urgent, used[entry.flow]))
        share = 1 if _runs_alone(ready[0]) else min(MAX_BATCH, -(-len(ready) // workers))
        batch = [ready[0], *(entry for entry in ready[1:] if not _runs_alone(entry))][:share]
        for entry in batch:
            self._entries.remove(entry)
        return batch

    def record_use(self, flow: Flow, seconds: float) -> None:
        """Record how long a worker computed a job of a flow."""
        if len(self._used) >= _MAX_FLOWS:
            oldest = min(self._used, key=lambda each: self._used[each][1])
            del self._used[oldest]
        self._used[flow] = self._used_s(flow) + seconds, time.monotonic()

    def _used_s(self, flow: Flow) -> float:
        """Return the worker time that a flow has used lately: half of it is forgotten in ten seconds."""
        seconds, then = self._used.get(flow, (0.0, 0.0))
        return float(seconds * 0.5 ** ((time.monotonic() - then) / _HALF_LIFE_S))


def _runs_alone(entry: QueuedJob) -> bool:
    """Return whether a job is computed by itself: also one that has crashed a worker, and would take others along."""
    job = entry.job
    is_large = job.has_upload and not 0 < job.upload_bytes <= _MAX_BATCH_UPLOAD_BYTES
    return is_large or entry.is_urgent or entry.is_slow or entry.tries > 0


def describe_crash(job: AnyJob) -> DomainError:
    """Return the error of a job that has ended several workers."""
    if job.has_upload:
        return UnreadableError(
            "The upload crashed the process that read it; it is damaged or in an unusual format."
        )
    return NotReadyError("The process that computed the request has exited; retry in a moment.")
