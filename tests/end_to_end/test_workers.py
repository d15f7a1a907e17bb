"""Worker processes answer, end with their service, and are replaced when they are lost."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DeadlineExceededError, NotReadyError
from app.observability.metrics import Metrics
from app.services.uploads import FileUpload, FormBody, JsonBody
from app.settings import Settings
from app.workers.dispatcher import Dispatcher
from app.workers.launcher_process import Launcher
from app.workers.messages import CanaryJob, CompareJob, InspectJob
from app.workers.pool import ProcessWorker
from model.errors import IndexDamagedError, IndexUnavailableError, TooLargeError, UnreadableError

CANARY = CanaryJob()


def run_with_worker(
    starter: Path, check: Callable[[Dispatcher, ProcessWorker], Awaitable[None]], **settings: Any
) -> None:
    """Run a check on a dispatcher with one worker process."""

    async def run() -> None:
        worker = ProcessWorker(Settings(index=starter, **settings), Launcher())
        dispatcher = Dispatcher([worker], 8, 2**20, 60.0, Metrics())
        await dispatcher.start()
        try:
            await check(dispatcher, worker)
        finally:
            await dispatcher.close()

    asyncio.run(run())


async def start_worker(index: Path) -> None:
    worker = ProcessWorker(Settings(index=index), Launcher())
    try:
        await worker.start()
    finally:
        await worker.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_answers_and_ends_with_the_service(starter: Path) -> None:
    pids = []

    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        assert worker.pid is not None
        pids.append(worker.pid)
        reply = await dispatcher.run(CANARY)
        assert reply.provenance.crystals > 300
        bad = InspectJob(body=JsonBody(b"{"), media_type="application/json")
        with pytest.raises(UnreadableError, match="not valid JSON"):
            await dispatcher.run(bad)
        assert is_alive(worker.pid)

    run_with_worker(starter, check)
    assert not is_alive(pids[0])


def test_a_killed_worker_is_replaced_and_its_job_is_repeated(starter: Path) -> None:
    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        assert worker.pid is not None
        first = worker.pid
        os.kill(first, signal.SIGSTOP)
        job = asyncio.create_task(dispatcher.run(CANARY))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        assert (await job).provenance.crystals > 300
        assert worker.pid != first

    run_with_worker(starter, check)


def test_a_worker_that_hangs_is_replaced_after_the_deadline_of_its_job(starter: Path) -> None:
    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        assert worker.pid is not None
        first = worker.pid
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(DeadlineExceededError):
            await dispatcher.run(CANARY, deadline_s=0.2)
        assert (await dispatcher.run(CANARY)).provenance.crystals > 300
        assert worker.pid != first

    run_with_worker(starter, check)


def test_an_idle_worker_that_is_killed_is_replaced_at_once(starter: Path) -> None:
    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        assert worker.pid is not None
        first, lost = worker.pid, worker.lost
        os.kill(first, signal.SIGKILL)
        await lost
        assert dispatcher.running_workers == 0
        while dispatcher.running_workers == 0:
            await asyncio.sleep(0.01)
        assert worker.pid != first

    run_with_worker(starter, check)


def test_a_worker_that_reads_a_part_of_the_index_that_is_gone_is_damaged(starter: Path) -> None:
    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        job = asyncio.create_task(dispatcher.run(CANARY))
        await asyncio.sleep(0)
        os.kill(worker.pid, signal.SIGBUS)
        os.kill(worker.pid, signal.SIGCONT)
        with pytest.raises(IndexDamagedError, match="log names the file"):
            await job
        while dispatcher.running_workers == 0:
            await asyncio.sleep(0.01)
        assert (await dispatcher.run(CANARY)).provenance.crystals > 300

    run_with_worker(starter, check)


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a standby")
def test_workers_return_through_the_standby_whenever_the_launcher_is_killed(starter: Path) -> None:
    graphene = "graphene\n1\n2.46 0 0\n-1.23 2.13 0\n0 0 15\nC\n2\ndirect\n0 0 0.5\n0.333333 0.666667 0.5\n"
    body = {"points": [[0.4, 0.0], [0.0, 0.4], [0.4, 0.4]], "structures": [graphene, graphene]}
    compare = CompareJob(body=JsonBody(json.dumps(body).encode()), media_type="application/json")

    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        launcher = worker._launcher
        for _ in range(2):
            while launcher._standby is None:
                await asyncio.sleep(0.01)
            assert launcher._active is not None
            standby = launcher._standby.pid
            os.kill(launcher._active.pid, signal.SIGKILL)
            await worker.lost
            while dispatcher.running_workers == 0:
                await asyncio.sleep(0.01)
            assert launcher._active.pid == standby
            assert (await dispatcher.run(CANARY)).provenance.crystals > 300
            await dispatcher.run(compare)
            # The process that has read the structures is still the one that all workers share.
            assert not Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()

    run_with_worker(starter, check)


def test_workers_return_after_launcher_and_standby_are_killed(starter: Path) -> None:
    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        launcher = worker._launcher
        for each in (launcher._standby, launcher._active):
            if each is not None:  # the standby comes a second later, if at all
                os.kill(each.pid, signal.SIGKILL)
        await worker.lost
        while dispatcher.running_workers == 0:
            await asyncio.sleep(0.01)
        assert (await dispatcher.run(CANARY)).provenance.crystals > 300

    run_with_worker(starter, check)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the limit")
def test_an_upload_that_needs_too_much_memory_is_refused_and_the_worker_stays(starter: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).poisson(10.0, (4000, 4000)).astype(np.uint8))
    frame = FormBody(FileUpload(file.getvalue(), "frame.npy"), (), ())

    async def check(dispatcher: Dispatcher, worker: ProcessWorker) -> None:
        first = worker.pid
        for _ in range(2):
            with pytest.raises(TooLargeError, match="memory"):
                await dispatcher.run(InspectJob(body=frame, media_type="application/json"))
        assert (await dispatcher.run(CANARY)).provenance.crystals > 300
        assert worker.pid == first

    run_with_worker(starter, check, worker_memory_bytes=2**26)


def test_a_worker_that_cannot_open_its_index_gives_the_reason(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailableError, match="contains no index"):
        asyncio.run(start_worker(tmp_path))


def test_a_worker_that_ends_while_it_starts_is_not_ready(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.workers.launcher_process._COMMAND", ("false",))
    with pytest.raises(NotReadyError, match="exited during startup"):
        asyncio.run(start_worker(starter))
