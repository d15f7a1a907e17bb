"""The jobs that wait for a worker: how many may wait, and which of them is next.

Each job is charged to its client and to its kind, which is its class and rough size. The next job is the one whose
client and kind have used the least worker time lately, and in a full queue the newest job of those with the most jobs
makes room. So whoever sends many jobs, or slow ones, waits behind the others, even if they come from many addresses. A
client whose jobs are not quick leaves the last worker to the others while there are any.
Jobs of one client and kind form a flow, in which they keep their order. A flow of which a job had to be ended for
quicker ones counts as slow for half a minute.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from app.errors import NotReadyError, QueueFullError
from app.workers.messages import AnyJob, Failure, Outcome, PredictBatchItemJob
from model.errors import DomainError, UnreadableError

# The STE takes 1.9 ms for one pattern, 3.1 for two, 7.4 for four and 22.6 for eight (one thread): larger batches gain
# nothing.
MAX_BATCH = 4
# Larger uploads may be frames, which take much longer than the STE, and stay in memory until the last of them is read.
_MAX_BATCH_UPLOAD_BYTES = 64 * 1024
_MAX_BATCH_JOB_S = 0.1

_HALF_LIFE_S = 10.0
_SLOW_FLOW_S = 30.0
_RESERVE_S = 2.0
_MAX_ACCOUNTS = 1000

Kind = tuple[type, int]
Flow = tuple[str, Kind]
Account = str | Kind


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

    @cached_property
    def flow(self) -> Flow:
        """The client and the kind: the class of the job, and its size within a factor of four."""
        return self.client, (type(self.job), self.job.upload_bytes.bit_length() // 2)

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
    _used: dict[Account, tuple[float, float]] = field(default_factory=dict, init=False)
    _job_s: dict[Flow, float] = field(default_factory=dict, init=False)
    _slow_flows: dict[Flow, float] = field(default_factory=dict, init=False)
    _last_quick: float = field(default=-math.inf, init=False)

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
            self._make_room(entry, lambda _: 1, "The request queue is full")
        while len(self) > 1 and sum(each.job.upload_bytes for each in self._entries) > self.limit_bytes:
            self._make_room(
                entry, lambda job: job.upload_bytes, "The waiting uploads fill the memory reserved for them"
            )

    def _make_room(self, entry: QueuedJob, measure: Callable[[AnyJob], int], problem: str) -> None:
        """Remove the newest job of the client and kind with the most.

        Raises:
            QueueFullError: it is the entry that was added just now.
        """
        error = QueueFullError(f"{problem}; retry in a moment.")
        shares: Counter[Account] = Counter()
        for each in self._entries:
            for account in each.flow:
                shares[account] += measure(each.job)
        newest = [each for each in reversed(self._entries) if not each.is_urgent]
        removed = max(newest, key=lambda each: sum(shares[account] for account in each.flow))
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

    def is_full_of(self, client: str) -> bool:
        """Return whether the queue is full, and no other client has as many jobs in it."""
        if len(self) < self.limit:
            return False
        shares = Counter(entry.client for entry in self._entries if not entry.is_urgent)
        return shares.most_common(1) == [(client, shares[client])]

    def take(self, workers: int, *, with_slow: bool, crowding: str | None = None) -> list[QueuedJob]:
        """Return what a free worker computes next, and remove it from the queue.

        Args:
            workers: how many workers share the waiting jobs.
            with_slow: whether it may be a job that is known to be slow.
            crowding: the client whose jobs all other workers compute.
        """
        ready = [entry for entry in self._entries if with_slow or not self._is_reserved_from(entry)]
        if crowding is not None and self._has_others(crowding):
            ready = [entry for entry in ready if entry.client != crowding or not self._takes_long(entry)]
        if not ready:
            return []
        used = {
            flow: self._used_s(flow[0]) + self._used_s(flow[1]) for flow in {entry.flow for entry in ready}
        }
        ready.sort(key=lambda entry: (not entry.is_urgent, used[entry.flow]))
        first = ready[0]
        if self._is_of_slow_flow(first):
            first.is_slow |= with_slow
        elif not first.is_urgent:
            self._last_quick = time.monotonic()
        share = 1 if self._runs_alone(first) else min(MAX_BATCH, -(-len(ready) // workers))
        batch = [first, *(entry for entry in ready[1:] if not self._runs_alone(entry))][:share]
        for entry in batch:
            self._entries.remove(entry)
        return batch

    def _is_reserved_from(self, entry: QueuedJob) -> bool:
        """Return whether the last worker is kept from a job: a slow one or, while quick ones come, of a slow flow."""
        has_quick = time.monotonic() - self._last_quick < _RESERVE_S
        return entry.is_slow or (has_quick and self._is_of_slow_flow(entry))

    def _has_others(self, client: str) -> bool:
        """Return whether other clients have used a worker in the last seconds, besides the service itself."""
        now = time.monotonic()
        return any(
            isinstance(account, str) and account not in {client, ""} and now - then < _RESERVE_S
            for account, (_, then) in self._used.items()
        )

    def _is_of_slow_flow(self, entry: QueuedJob) -> bool:
        return time.monotonic() < self._slow_flows.get(entry.flow, 0.0)

    def _runs_alone(self, entry: QueuedJob) -> bool:
        """Return whether a job is computed by itself: unless jobs of its flow are known to be quick and small.

        All jobs of a batch end before the worker is free for others. One that has crashed a worker takes others along.
        """
        job = entry.job
        is_large = job.has_upload and not 0 < job.upload_bytes <= _MAX_BATCH_UPLOAD_BYTES
        return is_large or self._takes_long(entry) or entry.is_urgent or entry.tries > 0

    def _takes_long(self, entry: QueuedJob) -> bool:
        """Return whether a job is not known to be quick."""
        return entry.is_slow or self._job_s.get(entry.flow, math.inf) > _MAX_BATCH_JOB_S

    def record_slow(self, entry: QueuedJob) -> None:
        """Record that a job had to be ended for quicker ones."""
        entry.is_slow = True
        now = time.monotonic()
        self._slow_flows = {flow: until for flow, until in self._slow_flows.items() if until > now}
        self._slow_flows[entry.flow] = now + _SLOW_FLOW_S

    def record_job(self, flow: Flow, seconds: float) -> None:
        """Record how long a worker computed a job of a flow, or a part of it."""
        if len(self._job_s) >= _MAX_ACCOUNTS:
            self._job_s.clear()
        self._job_s[flow] = max(seconds, 0.8 * self._job_s.get(flow, 0.0))

    def charge(self, flow: Flow, seconds: float) -> None:
        """Charge worker time to the client and the kind of a job."""
        for account in flow:
            if account not in self._used and len(self._used) >= _MAX_ACCOUNTS:
                oldest = min(self._used, key=lambda each: self._used[each][1])
                del self._used[oldest]
            self._used[account] = self._used_s(account) + seconds, time.monotonic()

    def _used_s(self, account: Account) -> float:
        """Return the worker time that a client or a kind has used lately: half of it is forgotten in ten seconds."""
        seconds, then = self._used.get(account, (0.0, 0.0))
        return float(seconds * 0.5 ** ((time.monotonic() - then) / _HALF_LIFE_S))


def describe_crash(job: AnyJob) -> DomainError:
    """Return the error of a job that has ended several workers."""
    if job.has_upload:
        return UnreadableError(
            "The upload crashed the process that read it; it is damaged or in an unusual format."
        )
    return NotReadyError("The process that computed the request has exited; retry in a moment.")
