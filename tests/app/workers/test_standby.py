"""The standby of the launcher takes over when that dies, is replaced when it dies itself, and ends with the service."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from app.workers import launcher_process
from app.workers.launcher_process import Launcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there is a standby")

# A launcher without libraries, whose workers exit when their connection is closed.
_IDLE_WORKERS = """
from app.workers import launcher
launcher._import_libraries = lambda: None
launcher._run_worker = lambda connection: connection.recv(1)
launcher.main()
"""

# A service with a worker and a standby, which prints the ids of both and of their launcher.
_SERVICE = f"""
import asyncio, socket
from app.workers import launcher_process
launcher_process._COMMAND = {(sys.executable, "-c", _IDLE_WORKERS)}
async def serve():
    launcher = launcher_process.Launcher()
    ours, theirs = socket.socketpair()
    worker = await launcher.start_worker(theirs.fileno())
    while launcher._standby is None:
        await asyncio.sleep(0.01)
    print(launcher._active.pid, launcher._standby.pid, worker, flush=True)
    await asyncio.sleep(1000)
asyncio.run(serve())
"""


@pytest.fixture(autouse=True)
def _use_idle_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher_process, "_COMMAND", (sys.executable, "-c", _IDLE_WORKERS))
    monkeypatch.setattr(launcher_process, "_CHECK_S", 0.01)


async def start_worker(launcher: Launcher) -> socket.socket:
    """Start a worker and return the connection to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        await launcher.start_worker(theirs.fileno())
    return ours


async def wait_for_pids(launcher: Launcher, former: int = 0) -> tuple[int, int]:
    """Return the ids of the launcher and of its standby, once there is one, and not the former one."""
    while launcher._standby is None or launcher._standby.pid == former:
        await asyncio.sleep(0.01)
    assert launcher._active is not None
    return launcher._active.pid, launcher._standby.pid


def run_with_launcher(check: Callable[[Launcher, list[socket.socket]], Awaitable[list[int]]]) -> None:
    """Run a check on a launcher with one worker; the processes that it returns must end with the launcher."""

    async def run() -> list[int]:
        launcher = Launcher()
        connections = [await start_worker(launcher)]
        try:
            return await check(launcher, connections)
        finally:
            for pid in list(launcher._workers):
                await launcher.end_worker(pid)
            await launcher.close_unused()
            for each in connections:
                each.close()

    wait_until_ended(asyncio.run(run()))


def wait_until_ended(pids: list[int]) -> None:
    """Wait until processes are gone, and not just waiting to be collected."""
    limit = time.monotonic() + 60.0
    while any(map(exists, pids)):
        assert time.monotonic() < limit
        time.sleep(0.01)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_standby_takes_over_each_time_the_launcher_is_killed() -> None:
    async def check(launcher: Launcher, connections: list[socket.socket]) -> list[int]:
        seen: list[int] = []
        for _ in range(3):
            active, standby = await wait_for_pids(launcher)
            seen += [active, standby, *launcher._workers]
            os.kill(active, signal.SIGKILL)
            assert connections[-1].recv(1) == b""  # its worker has died
            connections.append(await start_worker(launcher))
            assert launcher._active is not None
            assert launcher._active.pid == standby
        return [*seen, *await wait_for_pids(launcher)]

    run_with_launcher(check)


def test_a_standby_that_is_killed_is_replaced_and_the_workers_stay() -> None:
    async def check(launcher: Launcher, connections: list[socket.socket]) -> list[int]:
        first, standby = await wait_for_pids(launcher)
        (worker,) = launcher._workers
        os.kill(standby, signal.SIGKILL)
        second, successor = await wait_for_pids(launcher, former=standby)
        assert first == second
        assert not exists(standby)
        os.kill(worker, 0)
        connections[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            connections[0].recv(1)
        return [first, successor, worker]

    run_with_launcher(check)


def test_a_launcher_killed_together_with_its_standby_is_replaced() -> None:
    async def check(launcher: Launcher, connections: list[socket.socket]) -> list[int]:
        pids = await wait_for_pids(launcher)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert connections[0].recv(1) == b""
        wait_for_end_of_file(launcher)
        connections.append(await start_worker(launcher))
        assert launcher._active is not None
        assert launcher._active.pid not in pids
        return [*pids, *await wait_for_pids(launcher)]

    run_with_launcher(check)


def wait_for_end_of_file(launcher: Launcher) -> None:
    for each in (launcher._active, launcher._standby):
        assert each is not None
        while each.is_running:
            time.sleep(0.01)


@pytest.mark.parametrize("stopped", [[], ["standby"], ["worker"], ["standby", "worker"]])
def test_all_end_when_the_launcher_is_closed_even_if_they_are_stopped(stopped: list[str]) -> None:
    async def check(launcher: Launcher, _: list[socket.socket]) -> list[int]:
        active, standby = await wait_for_pids(launcher)
        (worker,) = launcher._workers
        for name in stopped:
            os.kill({"standby": standby, "worker": worker}[name], signal.SIGSTOP)
        return [active, standby, worker]

    run_with_launcher(check)


@pytest.mark.parametrize("victims", [["service"], ["service", "launcher"], ["launcher", "service"]])
def test_nothing_outlives_a_killed_service(victims: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", _SERVICE], stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        launcher, *others = map(int, service.stdout.readline().split())
        for name in victims:
            os.kill({"service": service.pid, "launcher": launcher}[name], signal.SIGKILL)
        service.wait()
        try:
            wait_until_ended([launcher, *others])
        finally:
            for pid in (launcher, *others):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
