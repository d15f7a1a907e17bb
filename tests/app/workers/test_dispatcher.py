"""The queue is bounded and greedy, keeps its deadline, and answers whatever it accepts."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

import pytest

from app.errors import DeadlineExceededError, NotReadyError, QueueFullError
from app.presentation.schemas.service import Provenance
from app.services.uploads import JsonBody
from app.workers.dispatcher import Dispatcher
from app.workers.interfaces import WorkerLostError
from app.workers.job_queue import MAX_BATCH
from app.workers.messages import (
    AnyJob,
    BeginJob,
    BodyReply,
    DeliverOutcome,
    Failure,
    InspectJob,
    StructureJob,
)
from model.errors import IndexDamagedError, IndexUnavailableError, OptionError, UnreadableError

PROVENANCE = Provenance(version="1", model="sha256:m", index="sha256:i", crystals=3, user_structures=1)


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workers.runs.QUICK_S", 0.1)
    monkeypatch.setattr("app.workers.dispatcher._CHECK_S", 0.01)


@dataclass
class RecordingObserver:
    """Keeps what it observes."""

    batch_sizes: list[int] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    damage: list[bool] = field(default_factory=list)

    def record_damage(self, is_damaged: bool) -> None:
        self.damage.append(is_damaged)

    def record_batch(self, size: int) -> None:
        self.batch_sizes.append(size)

    def record_lost_worker(self, reason: str) -> None:
        self.losses.append(reason)


@dataclass(eq=False)
class GatedWorker:
    """A worker that computes while its gate is open, and answers a job with the job's id.

    A job with the id `deadly` ends it, one whose id begins with `hanging` is never answered, and `bad` fails.
    """

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[str]] = field(default_factory=list)
    starts: int = 0
    loss: Exception = field(default_factory=lambda: WorkerLostError("gone"))
    closed: bool = False
    start_error: Exception | None = None
    found_damage: bool = False
    pid: int | None = None
    lost: "asyncio.Future[None]" = field(init=False)

    async def start(self) -> Provenance:
        if self.start_error is not None:
            raise self.start_error
        self.starts += 1
        self.lost = asyncio.get_running_loop().create_future()
        return PROVENANCE

    async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
        ids = [id_of(job) for job in jobs]
        self.batches.append(ids)
        await self.gate.wait()
        for index, id in enumerate(ids):
            begin(index)
            if id == "deadly":
                raise self.loss
            if id.startswith("hanging"):
                await self.lost
                raise WorkerLostError("killed")
            failure = Failure.from_error(OptionError("no")) if id == "bad" else None
            deliver(index, failure or BodyReply(id.encode()))

    async def kill(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    async def close(self) -> None:
        self.closed = True


def id_of(job: AnyJob) -> str:
    return job.id if isinstance(job, StructureJob) else job.request_id


def make_job(id: str) -> StructureJob:
    return StructureJob(id=id, media_type="")


def make_upload(id: str, size: int) -> InspectJob:
    return InspectJob(request_id=id, body=JsonBody(bytes(size)), media_type="")


def make_dispatcher(
    *workers: GatedWorker, queue: int = 16, queue_bytes: int = 1000, deadline_s: float = 20.0
) -> tuple[Dispatcher, RecordingObserver]:
    observer = RecordingObserver()
    return Dispatcher(workers, queue, queue_bytes, deadline_s, observer), observer


@asynccontextmanager
async def start_dispatcher(
    *workers: GatedWorker, **limits: Any
) -> AsyncIterator[tuple[Dispatcher, RecordingObserver]]:
    """Yield a dispatcher whose workers are ready, and close it at the end."""
    dispatcher, observer = make_dispatcher(*workers, **limits)
    assert await dispatcher.start() == PROVENANCE
    yield dispatcher, observer
    await dispatcher.close()


def run_in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a coroutine function a test that pytest can call."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def send(
    dispatcher: Dispatcher, *jobs: str | InspectJob | StructureJob, urgent: bool = False
) -> list[asyncio.Task[BodyReply]]:
    """Send jobs, or jobs with these ids, and return when each of them is computed or waits."""
    tasks = [
        asyncio.create_task(dispatcher.run(make_job(job) if isinstance(job, str) else job, urgent=urgent))
        for job in jobs
    ]
    await settle()
    return tasks


@run_in_loop
async def test_waiting_jobs_are_computed_together_up_to_a_limit() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker, queue=16) as (dispatcher, observer):
        first = await send(dispatcher, "first")
        rest = await send(dispatcher, *(f"{n}" for n in range(MAX_BATCH + 2)))
        assert worker.batches == [["first"]]
        worker.gate.set()
        replies = await asyncio.gather(*first, *rest)
        assert [reply.body.decode() for reply in replies] == ["first", *(f"{n}" for n in range(len(rest)))]
        assert [len(batch) for batch in worker.batches] == observer.batch_sizes == [1, MAX_BATCH, 2]


@run_in_loop
async def test_a_worker_leaves_the_others_their_share() -> None:
    workers = GatedWorker(), GatedWorker()
    for worker in workers:
        worker.gate.set()
    async with start_dispatcher(*workers) as (dispatcher, _):
        await dispatcher.run(make_job("quick"))
        for worker in workers:
            worker.gate.clear()
            worker.batches.clear()
        tasks = await send(dispatcher, *(f"{n}" for n in range(4)))
        assert sorted(len(batch) for worker in workers for batch in worker.batches) == [1, 2]
        for worker in workers:
            worker.gate.set()
        await asyncio.gather(*tasks)


@run_in_loop
async def test_a_full_queue_refuses_and_urgent_jobs_go_first() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker, queue=1) as (dispatcher, _):
        tasks = [*await send(dispatcher, "first"), *await send(dispatcher, "second")]
        with pytest.raises(QueueFullError):
            await dispatcher.run(make_job("third"))
        tasks += await send(dispatcher, "urgent", urgent=True)
        assert len(dispatcher.waiting) == 1
        worker.gate.set()
        await asyncio.gather(*tasks)
        assert worker.batches == [["first"], ["urgent"], ["second"]]
        assert len(dispatcher.waiting) == 0


@run_in_loop
async def test_a_client_with_an_answer_finds_the_worker_free() -> None:
    class LingeringWorker(GatedWorker):
        async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
            await super().compute(jobs, deliver, begin)
            await settle()

    worker = LingeringWorker()
    worker.gate.set()
    async with start_dispatcher(worker, queue=0) as (dispatcher, _):
        for id in ("first", "second", "third"):
            assert (await dispatcher.run(make_job(id))).body == id.encode()


@run_in_loop
async def test_the_size_of_the_waiting_uploads_is_limited() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker, queue_bytes=10) as (dispatcher, _):
        tasks = await send(dispatcher, make_upload("first", 50))
        tasks += await send(dispatcher, make_upload("second", 6))
        with pytest.raises(QueueFullError, match="memory"):
            await dispatcher.run(make_upload("too much", 5))
        worker.gate.set()
        assert len(await asyncio.gather(*tasks)) == 2


@run_in_loop
async def test_the_job_of_a_client_that_left_is_dropped() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker) as (dispatcher, _):
        (first,) = await send(dispatcher, "first")
        (left,) = await send(dispatcher, "left")
        assert len(dispatcher.waiting) == 1
        left.cancel()
        await settle()
        assert len(dispatcher.waiting) == 0
        worker.gate.set()
        await first
    assert worker.batches == [["first"]]


@run_in_loop
async def test_the_deadline_includes_the_time_in_the_queue() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker, deadline_s=0.02) as (dispatcher, _):
        (first,) = await send(dispatcher, "a")
        for late in (first, asyncio.create_task(dispatcher.run(make_job("b")))):
            with pytest.raises(DeadlineExceededError, match=r"0\.02 seconds"):
                await late
        worker.gate.set()
        assert (await dispatcher.run(make_job("c"), deadline_s=20)).body == b"c"
        assert worker.batches == [["a"], ["c"]]


@run_in_loop
async def test_a_failure_is_raised_with_its_own_class() -> None:
    worker = GatedWorker()
    worker.gate.set()
    async with start_dispatcher(worker) as (dispatcher, _):
        with pytest.raises(OptionError, match="no"):
            await dispatcher.run(make_job("bad"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (partial(make_upload, size=1), UnreadableError, "crashed the process"),
        (make_job, NotReadyError, "has exited"),
    ],
)
def test_a_job_that_ends_workers_fails_and_takes_no_other_with_it(
    make: Callable[[str], InspectJob | StructureJob], error: type[Exception], message: str
) -> None:
    """The upload is the cause, if there is one."""

    async def check() -> None:
        worker = GatedWorker()
        async with start_dispatcher(worker) as (dispatcher, observer):
            (first,) = await send(dispatcher, make("first"))
            deadly, innocent = await send(dispatcher, make("deadly"), make("innocent"))
            worker.gate.set()
            with pytest.raises(error, match=message):
                await deadly
            assert (await innocent).body == b"innocent"
            await first
            assert observer.losses == ["exited", "exited"]
            assert worker.starts == 3
            assert worker.batches == [["first"], ["deadly", "innocent"], ["deadly"], ["innocent"]]

    asyncio.run(check())


@pytest.mark.parametrize("error", [IndexUnavailableError("no index"), OSError("no memory")])
def test_a_restart_that_fails_is_repeated(error: Exception) -> None:
    async def check() -> None:
        worker = GatedWorker(loss=error)
        async with start_dispatcher(worker) as (dispatcher, _):
            worker.gate.set()
            worker.start_error = error
            (deadly,) = await send(dispatcher, "deadly")
            worker.start_error = None
            with pytest.raises(NotReadyError):
                await deadly
            assert worker.starts == 3

    asyncio.run(check())


@run_in_loop
async def test_closing_finishes_the_accepted_jobs_and_accepts_no_more() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker) as (dispatcher, _):
        tasks = await send(dispatcher, *(f"{n}" for n in range(3)))
        closing = asyncio.create_task(dispatcher.close())
        await settle()
        with pytest.raises(NotReadyError):
            await dispatcher.run(make_job("late"))
        assert not worker.closed
        worker.gate.set()
        assert len(await asyncio.gather(*tasks)) == 3
        await closing
        assert worker.closed


@run_in_loop
async def test_a_start_that_fails_closes_the_other_workers() -> None:
    good, bad = GatedWorker(), GatedWorker(start_error=IndexUnavailableError("no index"))
    dispatcher, _ = make_dispatcher(good, bad)
    with pytest.raises(IndexUnavailableError):
        await dispatcher.start()
    assert good.closed


@run_in_loop
async def test_the_death_of_an_idle_worker_is_noticed_at_once() -> None:
    workers = GatedWorker(), GatedWorker()
    async with start_dispatcher(*workers) as (dispatcher, observer):
        await settle()
        workers[0].start_error = IndexUnavailableError("no index")
        workers[0].lost.set_result(None)
        await settle()
        assert dispatcher.running_workers == 1
        assert observer.losses == ["exited"]
        workers[1].gate.set()
        assert (await dispatcher.run(make_job("a"))).body == b"a"


@run_in_loop
async def test_without_workers_jobs_fail_soon_and_then_at_once() -> None:
    worker = GatedWorker(loss=IndexUnavailableError("no index"))
    async with start_dispatcher(worker) as (dispatcher, _):
        worker.gate.set()
        worker.start_error = worker.loss
        dispatcher.max_absence_s = 0.02
        for job in ("deadly", "waiting", "late"):
            with pytest.raises(NotReadyError, match="No worker is running"):
                await dispatcher.run(make_job(job))
        assert dispatcher.running_workers == 0
        worker.start_error = None
        while dispatcher.running_workers == 0:
            await asyncio.sleep(0.01)
        assert (await dispatcher.run(make_job("a"))).body == b"a"


@run_in_loop
async def test_a_job_past_its_deadline_is_ended_and_those_taken_with_it_are_answered() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker) as (dispatcher, observer):
        (first,) = await send(dispatcher, "first")
        hanging = asyncio.create_task(dispatcher.run(make_job("hanging"), deadline_s=0.5))
        rest = await send(dispatcher, "second", "third")
        worker.gate.set()
        with pytest.raises(DeadlineExceededError):
            await hanging
        replies = await asyncio.gather(first, *rest)
        assert [reply.body for reply in replies] == [b"first", b"second", b"third"]
        assert worker.batches == [["first"], ["hanging", "second", "third"], ["second"], ["third"]]
        assert observer.losses == ["deadline"]


@run_in_loop
async def test_a_worker_is_not_ended_for_what_it_has_sent_while_the_event_loop_was_busy() -> None:
    class LateWorker(GatedWorker):
        async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
            await asyncio.sleep(0.05)
            time.sleep(0.3)  # the event loop is busy
            for _ in range(5):  # until the message has been read
                await asyncio.sleep(0)
            await super().compute(jobs, deliver, begin)

    worker = LateWorker()
    worker.gate.set()
    async with start_dispatcher(worker) as (dispatcher, observer):
        late = asyncio.create_task(dispatcher.run(make_job("late"), deadline_s=0.02))
        with pytest.raises(DeadlineExceededError):
            await late
        assert (await dispatcher.run(make_job("a"))).body == b"a"
        assert observer.losses == []
        assert worker.starts == 1


@run_in_loop
async def test_a_job_whose_client_has_left_is_ended() -> None:
    worker = GatedWorker()
    worker.gate.set()
    async with start_dispatcher(worker) as (dispatcher, observer):
        (hanging,) = await send(dispatcher, "hanging")
        hanging.cancel()
        assert (await dispatcher.run(make_job("a"))).body == b"a"
        assert observer.losses == ["abandoned"]


@run_in_loop
async def test_slow_jobs_leave_one_worker_to_quick_ones_and_are_computed_again() -> None:
    workers = GatedWorker(), GatedWorker()
    for worker in workers:
        worker.gate.set()
    async with start_dispatcher(*workers) as (dispatcher, observer):
        hanging = await send(dispatcher, *(f"hanging {n}" for n in range(4)))
        for _ in range(3):
            assert (await dispatcher.run(make_job("quick"))).body == b"quick"
        assert all(not task.done() for task in hanging)
        assert set(observer.losses) == {"slow"}
        for task in hanging:
            task.cancel()


@run_in_loop
async def test_nothing_is_answered_from_damage_until_a_worker_has_been_restarted() -> None:
    """Neither what the worker was computing, nor what waits, nor what another one computes, nor what comes."""
    worker, other = GatedWorker(), GatedWorker(gate=asyncio.Event())
    async with start_dispatcher(worker, other) as (dispatcher, observer):
        (deadly,), (computed,) = await send(dispatcher, "deadly"), await send(dispatcher, "computed")
        (waiting,) = await send(dispatcher, "waiting")
        assert (worker.batches, other.batches) == ([["deadly"]], [["computed"]])
        worker.found_damage = True
        worker.start_error = IndexDamagedError("vectors.faiss is damaged.")
        worker.gate.set()
        for job in (deadly, waiting):
            with pytest.raises(IndexDamagedError, match="damaged"):
                await job
        other.gate.set()
        with pytest.raises(IndexDamagedError, match="damaged"):
            await computed
        while len(observer.damage) < 2:  # until a restart has failed
            await asyncio.sleep(0.01)
        for urgent in (True, False):
            with pytest.raises(IndexDamagedError, match=r"vectors.faiss is damaged"):
                await dispatcher.run(make_job("late"), urgent=urgent)
        assert set(observer.damage) == {True}
        worker.start_error = None
        while observer.damage[-1]:
            await asyncio.sleep(0.01)
        assert (await dispatcher.run(make_job("again"))).body == b"again"


@run_in_loop
async def test_the_damage_that_an_idle_worker_finds_is_known_at_once() -> None:
    worker = GatedWorker()
    async with start_dispatcher(worker) as (dispatcher, observer):
        worker.found_damage = True
        worker.start_error = IndexDamagedError("vectors.faiss is damaged.")
        await worker.kill()
        await settle()
        assert observer.damage[0]
        with pytest.raises(IndexDamagedError):
            await dispatcher.run(make_job("late"))
        worker.start_error = None
        while observer.damage[-1]:
            await asyncio.sleep(0.01)
