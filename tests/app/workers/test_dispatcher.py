"""The queue: bounded, greedy, with a deadline, and true to what it has taken in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pytest

from app.errors import DeadlineExceededError, NotReadyError, QueueFullError
from app.workers.dispatcher import MOST_TOGETHER, Dispatcher, WorkerLostError
from app.workers.messages import Answered, Failure, Job, Reply
from model.errors import IndexUnavailableError, OptionError, UnreadableError


@dataclass
class Told:
    """What an observer hears."""

    waiting: list[int] = field(default_factory=list)
    together: list[int] = field(default_factory=list)
    losses: int = 0

    def set_queue_length(self, waiting: int) -> None:
        self.waiting.append(waiting)

    def record_batch(self, size: int) -> None:
        self.together.append(size)

    def record_lost_worker(self) -> None:
        self.losses += 1


@dataclass
class Gated:
    """A worker that computes when it is let; jobs named `deadly` end it."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    taken: list[list[str]] = field(default_factory=list)
    starts: int = 0
    lost: Exception = field(default_factory=lambda: WorkerLostError("gone"))
    closed: bool = False
    broken: Exception | None = None
    pid: int | None = None

    async def start(self) -> Mapping[str, Any]:
        if self.broken is not None:
            raise self.broken
        self.starts += 1
        return {"crystals": 3}

    async def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
        self.taken.append([job.kind for job in jobs])
        await self.gate.wait()
        for place, job in enumerate(jobs):
            if job.kind == "deadly":
                raise self.lost
            bad = Failure.of(OptionError("no")) if job.kind == "bad" else None
            answered(place, bad or Reply({"kind": job.kind}))

    async def close(self) -> None:
        self.closed = True


def dispatcher(
    *workers: Gated, queue: int = 8, queue_bytes: int = 1000, deadline_s: float = 20.0
) -> tuple[Dispatcher, Told]:
    told = Told()
    return Dispatcher(workers, queue, queue_bytes, deadline_s, told), told


@asynccontextmanager
async def started(*workers: Gated, **limits: Any) -> AsyncIterator[tuple[Dispatcher, Told]]:
    """A queue whose workers are ready, closed at the end."""
    queue, told = dispatcher(*workers, **limits)
    assert await queue.start() == {"crystals": 3}
    yield queue, told
    await queue.close()


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that awaits, as one that pytest can call."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def sent(queue: Dispatcher, *jobs: str | Job, urgent: bool = False) -> list[asyncio.Task[Reply]]:
    """Jobs, or jobs of these kinds, that are taken or wait."""
    made = [Job(job) if isinstance(job, str) else job for job in jobs]
    tasks = [asyncio.create_task(queue.run(job, urgent=urgent)) for job in made]
    await settled()
    return tasks


@in_a_loop
async def test_what_waits_is_taken_together_up_to_a_limit() -> None:
    worker = Gated()
    async with started(worker, queue=16) as (queue, told):
        first = await sent(queue, "first")
        rest = await sent(queue, *(f"{n}" for n in range(MOST_TOGETHER + 2)))
        assert worker.taken == [["first"]]
        worker.gate.set()
        replies = await asyncio.gather(*first, *rest)
        assert [each.told["kind"] for each in replies] == ["first", *(f"{n}" for n in range(len(rest)))]
        assert [len(batch) for batch in worker.taken] == told.together == [1, MOST_TOGETHER, 2]


@in_a_loop
async def test_a_worker_leaves_the_others_their_share() -> None:
    workers = Gated(), Gated()
    async with started(*workers) as (queue, _):
        tasks = await sent(queue, *(f"{n}" for n in range(4)))
        assert sorted(len(batch) for worker in workers for batch in worker.taken) == [1, 2]
        for worker in workers:
            worker.gate.set()
        await asyncio.gather(*tasks)


@in_a_loop
async def test_a_full_queue_refuses_and_urgent_jobs_go_first() -> None:
    worker = Gated()
    async with started(worker, queue=1) as (queue, told):
        tasks = [*await sent(queue, "first"), *await sent(queue, "second")]
        with pytest.raises(QueueFullError):
            await queue.run(Job("third"))
        tasks += await sent(queue, "urgent", urgent=True)
        worker.gate.set()
        await asyncio.gather(*tasks)
        assert worker.taken == [["first"], ["urgent"], ["second"]]
        assert max(told.waiting) == 1
        assert told.waiting[-1] == 0


@in_a_loop
async def test_who_has_an_answer_finds_the_worker_free() -> None:
    class Lingering(Gated):
        async def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
            await super().compute(jobs, answered)
            await settled()

    worker = Lingering()
    worker.gate.set()
    async with started(worker, queue=0) as (queue, _):
        for kind in ("first", "second", "third"):
            assert (await queue.run(Job(kind))).told == {"kind": kind}


@in_a_loop
async def test_uploads_that_wait_are_limited_together() -> None:
    worker = Gated()
    async with started(worker, queue_bytes=10) as (queue, _):
        tasks = await sent(queue, Job("first", blobs=(bytes(50),)))
        tasks += await sent(queue, Job("second", blobs=(bytes(8),)))
        with pytest.raises(QueueFullError, match="memory"):
            await queue.run(Job("too much", blobs=(bytes(2), bytes(1))))
        worker.gate.set()
        assert len(await asyncio.gather(*tasks)) == 2


@in_a_loop
async def test_whose_client_left_is_dropped() -> None:
    worker = Gated()
    async with started(worker) as (queue, told):
        (first,) = await sent(queue, "first")
        (left,) = await sent(queue, "left")
        left.cancel()
        await settled()
        assert told.waiting[-1] == 0
        worker.gate.set()
        await first
    assert worker.taken == [["first"]]


@in_a_loop
async def test_the_deadline_counts_waiting_too() -> None:
    worker = Gated()
    async with started(worker, deadline_s=0.02) as (queue, _):
        (first,) = await sent(queue, "a")
        for late in (first, queue.run(Job("b"))):
            with pytest.raises(DeadlineExceededError, match=r"0\.02 seconds"):
                await late
        worker.gate.set()
        assert (await queue.run(Job("c"), deadline_s=20)).told == {"kind": "c"}
        assert worker.taken == [["a"], ["c"]]


@in_a_loop
async def test_a_failure_is_raised_as_what_it_was() -> None:
    worker = Gated()
    worker.gate.set()
    async with started(worker) as (queue, _):
        with pytest.raises(OptionError, match="no"):
            await queue.run(Job("bad"))


@in_a_loop
async def test_what_ends_workers_is_refused_and_takes_nothing_with_it() -> None:
    worker = Gated()
    async with started(worker) as (queue, told):
        (first,) = await sent(queue, "first")
        deadly, innocent = await sent(queue, "deadly", "innocent")
        worker.gate.set()
        with pytest.raises(UnreadableError, match="ended the process"):
            await deadly
        assert (await innocent).told == {"kind": "innocent"}
        await first
        assert told.losses == 2
        assert worker.starts == 3
        assert worker.taken == [["first"], ["deadly", "innocent"], ["deadly"], ["innocent"]]


@pytest.mark.parametrize("error", [IndexUnavailableError("no index"), OSError("no memory")])
def test_a_worker_that_cannot_start_again_is_tried_again(error: Exception) -> None:
    asyncio.run(_tried_again(error))


async def _tried_again(error: Exception) -> None:
    worker = Gated(lost=error)
    async with started(worker) as (queue, _):
        worker.gate.set()
        worker.broken = error
        (deadly,) = await sent(queue, "deadly")
        worker.broken = None
        with pytest.raises(UnreadableError):
            await deadly
        assert worker.starts == 3


@in_a_loop
async def test_closing_finishes_what_was_taken_in_and_takes_no_more() -> None:
    worker = Gated()
    async with started(worker) as (queue, _):
        tasks = await sent(queue, *(f"{n}" for n in range(3)))
        closing = asyncio.create_task(queue.close())
        await settled()
        with pytest.raises(NotReadyError):
            await queue.run(Job("late"))
        assert not worker.closed
        worker.gate.set()
        assert len(await asyncio.gather(*tasks)) == 3
        await closing
        assert worker.closed


@in_a_loop
async def test_a_start_that_fails_closes_the_others() -> None:
    good, bad = Gated(), Gated(broken=IndexUnavailableError("no index"))
    queue, _ = dispatcher(good, bad)
    with pytest.raises(IndexUnavailableError):
        await queue.start()
    assert good.closed
