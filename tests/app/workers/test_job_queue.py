"""Clients and kinds of jobs share the workers and the queue fairly."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import QueueFullError
from app.services.options import PredictOptions
from app.services.uploads import FileUpload, JsonBody, SavedFile
from app.workers.job_queue import MAX_BATCH, JobQueue, QueuedJob
from app.workers.messages import (
    AnyJob,
    CanaryJob,
    Failure,
    InspectJob,
    PredictBatchItemJob,
    SavedImage,
    StructureJob,
)
from app.workers.runs import QUICK_S, Run, find_crowding_client

LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _close_loop() -> Iterator[None]:
    yield
    LOOP.close()


def make_entry(job: AnyJob | None = None, client: str = "one", **state: bool | int) -> QueuedJob:
    job = job or StructureJob(id="x", media_type="")
    return QueuedJob(job, asyncio.Future(loop=LOOP), 0.0, client, **state)  # type: ignore[arg-type]


def make_upload(size: int) -> InspectJob:
    return InspectJob(body=JsonBody(bytes(size)), media_type="")


def fill(queue: JobQueue, *entries: QueuedJob) -> None:
    for entry in entries:
        queue.add(entry, 0)


def take_all(queue: JobQueue) -> list[QueuedJob]:
    taken: list[QueuedJob] = []
    while batch := queue.take(MAX_BATCH * 100, with_slow=True):
        taken += batch
    return taken


def test_the_client_that_used_the_least_time_goes_first_and_jobs_of_one_keep_their_order() -> None:
    queue = JobQueue(10, 1000)
    many = [make_entry(client="many") for _ in range(3)]
    few = make_entry(client="few")
    fill(queue, *many, few)
    queue.charge(many[0].flow, 5.0)
    assert take_all(queue) == [few, *many]


def test_the_class_and_the_size_of_jobs_count_like_a_client() -> None:
    queue = JobQueue(10, 10**6)
    large, small, other = make_entry(make_upload(10_000)), make_entry(make_upload(100)), make_entry()
    fill(queue, large, small, other)
    queue.charge(large.flow, 5.0)
    queue.charge(small.flow, 1.0)
    assert take_all(queue) == [other, small, large]


def test_a_client_whose_jobs_are_not_quick_leaves_the_last_worker_to_the_others_while_there_are_any() -> None:
    queue = JobQueue(10, 1000)
    many, other = make_entry(client="many"), make_entry(make_upload(10), client="other")
    fill(queue, many)
    queue.record_job(many.flow, 0.5)
    queue.charge(many.flow, 0.5)
    queue.charge(other.flow, 0.01)
    assert queue.take(2, with_slow=True, crowding="many") == []
    assert queue.take(2, with_slow=True, crowding="other") == [many]


@pytest.mark.parametrize("seconds", [0.01, 0.5])
def test_a_client_has_all_workers_for_quick_jobs_and_when_it_is_alone(seconds: float) -> None:
    queue = JobQueue(10, 1000)
    many, other = make_entry(client="many"), make_entry(make_upload(10), client="other")
    fill(queue, many)
    queue.record_job(many.flow, seconds)
    queue.charge(many.flow, seconds)
    queue.charge(make_entry(client="").flow, 0.5)  # the service itself
    if seconds < 0.1:
        queue.charge(other.flow, 0.01)
    assert queue.take(2, with_slow=True, crowding="many") == [many]


def test_a_client_crowds_with_jobs_that_are_not_slow() -> None:
    runs = [Run([make_entry(client="many")]), Run([make_entry(client="many")])]
    assert find_crowding_client(runs, 3) == "many"
    assert find_crowding_client(runs, 4) is None
    assert find_crowding_client([*runs, Run([make_entry(client="few")])], 4) is None
    runs[0].begun -= QUICK_S
    assert find_crowding_client(runs, 3) is None


def test_the_queue_is_full_of_a_client_if_no_other_has_as_many_jobs_in_it() -> None:
    queue = JobQueue(3, 1000)
    fill(queue, make_entry(client="many"), make_entry(client="many"))
    assert not queue.is_full_of("many")
    fill(queue, make_entry(client="few"))
    assert queue.is_full_of("many")
    assert not queue.is_full_of("few")
    assert not queue.is_full_of("new")


def test_many_addresses_that_send_one_kind_share_its_turn() -> None:
    queue = JobQueue(10, 10**6)
    for number in range(5):
        queue.charge(make_entry(make_upload(10_000), client=f"attacker {number}").flow, 2.0)
    ordinary = make_entry(client="ordinary")
    queue.charge(ordinary.flow, 0.5)
    fill(queue, new := make_entry(make_upload(10_000), client="new attacker"), ordinary)
    assert take_all(queue) == [ordinary, new]


def test_the_time_of_a_running_job_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    queue = JobQueue(10, 1000)
    many, few = make_entry(client="many"), make_entry(client="few")
    queue.charge(few.flow, 5.0)
    run = Run([many])
    now += 3.0
    run.charge(queue)
    run.record(queue)
    fill(queue, few, many)
    assert queue.take(2, with_slow=True) == [many]
    now += 8.0
    run.charge(queue)
    fill(queue, many)
    assert queue.take(2, with_slow=True) == [few]


def test_used_time_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    queue = JobQueue(10, 1000)
    slow, quick = make_entry(client="slow"), make_entry(client="quick")
    queue.charge(slow.flow, 5.0)
    now += 100.0
    queue.charge(quick.flow, 0.1)
    fill(queue, quick, slow)
    assert take_all(queue) == [slow, quick]


def test_the_clients_that_are_remembered_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workers.job_queue._MAX_ACCOUNTS", 3)
    queue = JobQueue(10, 1000)
    for number in range(10):
        queue.charge(make_entry(client=str(number)).flow, 1.0)
    assert len(queue._used) == 3


def test_in_a_full_queue_the_newest_job_of_the_flow_that_fills_it_makes_room() -> None:
    queue = JobQueue(3, 1000)
    many = [make_entry(client="many") for _ in range(3)]
    few = make_entry(client="few")
    fill(queue, *many, few)
    (failure,) = [entry.outcome.result() for entry in many if entry.outcome.done()]
    assert isinstance(failure, Failure)
    assert isinstance(failure.to_error(), QueueFullError)
    assert take_all(queue) == [*many[:2], few]
    fill(queue, *(make_entry(client="many") for _ in range(3)))
    with pytest.raises(QueueFullError):
        queue.add(make_entry(client="many"), 0)


def test_the_flow_with_the_largest_uploads_makes_room_for_smaller_ones() -> None:
    queue = JobQueue(10, 1000)
    large, small = make_entry(make_upload(900)), make_entry(make_upload(200))
    fill(queue, large, small)
    assert large.outcome.done()
    assert take_all(queue) == [small]


def test_only_jobs_that_are_known_to_be_quick_are_computed_together() -> None:
    queue = JobQueue(10, 1000)
    quick, slow, new = (make_entry(client=name) for name in ("quick", "slow", "new"))
    queue.record_job(quick.flow, 0.05)
    queue.record_job(slow.flow, 0.9)
    queue.record_job(slow.flow, 0.05)
    for entry, size in ((quick, 3), (slow, 1), (new, 1)):
        fill(queue, *(make_entry(client=entry.client) for _ in range(3)))
        assert len(queue.take(1, with_slow=True)) == size
        queue.fail_all(QueueFullError(""))


def test_slow_jobs_wait_until_one_is_allowed_and_run_alone() -> None:
    queue = JobQueue(10, 1000)
    slow, crashed, quick = make_entry(is_slow=True), make_entry(tries=1), make_entry()
    queue.record_job(quick.flow, 0.001)
    fill(queue, slow, crashed, quick, last := make_entry())
    assert queue.take(1, with_slow=False) == [crashed]
    assert queue.take(1, with_slow=False) == [quick, last]
    assert queue.take(1, with_slow=False) == []
    assert queue.take(1, with_slow=True) == [slow]


def test_a_flow_that_was_slow_is_kept_from_the_last_worker_while_quick_jobs_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    queue = JobQueue(10, 1000)
    queue.record_slow(make_entry(client="slow"))
    slow, other = make_entry(client="slow"), make_entry(client="slow")
    fill(queue, quick := make_entry(), slow, other)
    assert queue.take(1, with_slow=False) == [quick]
    assert queue.take(1, with_slow=False) == []
    assert queue.take(1, with_slow=True) == [slow]
    assert slow.is_slow
    now += 3.0
    assert queue.take(1, with_slow=False) == [other]
    assert not other.is_slow


def test_a_flow_is_slow_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    queue = JobQueue(10, 1000)
    queue.record_slow(make_entry(client="slow"))
    now += 60.0
    fill(queue, quick := make_entry(), once := make_entry(client="slow"))
    assert queue.take(2, with_slow=False) == [quick]
    assert queue.take(2, with_slow=False) == [once]


def test_urgent_jobs_go_first_alone_and_need_no_room() -> None:
    queue = JobQueue(1, 1000)
    fill(queue, first := make_entry(), urgent := make_entry(CanaryJob(), is_urgent=True))
    assert len(queue) == 1
    assert queue.take(1, with_slow=False) == [urgent]
    assert queue.take(1, with_slow=False) == [first]


def test_patterns_of_a_batch_do_not_hold_each_other_up_but_hold_up_others() -> None:
    item = PredictBatchItemJob(pattern=FileUpload(b"1,2", "a"), options=PredictOptions.from_json({}))
    queue = JobQueue(10, 1000)
    running = make_entry(item)
    fill(queue, make_entry(item))
    assert not queue.is_held_up_by(running)
    assert queue.is_held_up_by(make_entry())
    fill(queue, make_entry())
    assert queue.is_held_up_by(running)


def test_large_uploads_and_files_on_disk_are_computed_alone() -> None:
    saved = PredictBatchItemJob(
        pattern=SavedImage(SavedFile(Path("0"), "a"), 0), options=PredictOptions.from_json({})
    )
    queue = JobQueue(10, 10**6)
    for job in (make_upload(10**5), saved):
        entries = [make_entry(job) for _ in range(3)]
        fill(queue, *entries)
        assert [queue.take(1, with_slow=True) for _ in entries] == [[entry] for entry in entries]
