"""A worker process whose service ends, and a service that cannot start a process."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from app.errors import NotReadyError
from app.settings import Settings
from app.workers.launcher import MESSAGE, START_WORKER
from app.workers.launcher_process import Launcher
from app.workers.messages import StartWorker
from app.workers.pool import ProcessWorker
from app.workers.wire import write_message

# A worker that reads until the service has closed the socket, then sends an answer.
_LATE_ANSWER = """
from app.workers import worker
from app.workers.messages import JobBatch
def work(_settings, incoming, outgoing):
    incoming.read()
    worker.write_message(outgoing, JobBatch(()))
worker._work = work
worker.run_worker(__import__("socket").socket(fileno=0))
"""

# A launcher of workers that start a process, report that they have, and hang.
_HANGING_WORKERS = """
import subprocess, time
from app.workers import launcher
def hang(connection):
    subprocess.Popen(["sleep", "1000"])
    connection.sendall(b"!")
    time.sleep(1000)
launcher._import_libraries = lambda: subprocess.Popen(["sleep", "1000"])
launcher._run_worker = hang
launcher.main()
"""


def test_a_worker_whose_service_is_killed_ends_without_a_traceback() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _LATE_ANSWER], stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True
        )
    with ours, ours.makefile("wb") as stream:
        write_message(stream, StartWorker(Settings()))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == "The service exited while a worker was running a job.\n"


def test_a_service_that_cannot_start_a_process_gives_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("subprocess.Popen", refuse)

    async def check() -> None:
        worker = ProcessWorker(Settings(), Launcher())
        for _ in range(2):
            with pytest.raises(NotReadyError, match="Too many open files"):
                await worker.start()
        assert worker.pid is None

    asyncio.run(check())


@contextmanager
def run_hanging_worker() -> Iterator[tuple[subprocess.Popen[bytes], socket.socket, int]]:
    """Yield a launcher, the service's end of its connection, and the process id of a worker that hangs.

    The launcher's standard output is also that of all processes that it and the worker have started, so it ends when
    all of them have.
    """
    control, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _HANGING_WORKERS],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    with process, control:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(control, [MESSAGE.pack(START_WORKER)], [theirs.fileno()])
            (pid,) = MESSAGE.unpack(control.recv(MESSAGE.size))
            assert ours.recv(1) == b"!"
            try:
                yield process, control, pid
            finally:
                for group in (process.pid, pid):
                    with suppress(ProcessLookupError):
                        os.killpg(group, signal.SIGKILL)


def close_connection(_process: subprocess.Popen[bytes], control: socket.socket, _pid: int) -> None:
    control.close()


def close_connection_to_a_stopped_worker(
    _process: subprocess.Popen[bytes], control: socket.socket, pid: int
) -> None:
    os.kill(pid, signal.SIGSTOP)
    control.close()


def end_the_worker_and_then_the_launcher(
    _process: subprocess.Popen[bytes], control: socket.socket, pid: int
) -> None:
    control.sendall(MESSAGE.pack(pid))
    assert MESSAGE.unpack(control.recv(MESSAGE.size)) == (-signal.SIGKILL,)
    control.close()


@pytest.mark.parametrize(
    "end", [close_connection, close_connection_to_a_stopped_worker, end_the_worker_and_then_the_launcher]
)
def test_a_worker_ends_with_the_service_and_takes_its_processes_along(
    end: Callable[[subprocess.Popen[bytes], socket.socket, int], None],
) -> None:
    with run_hanging_worker() as (process, control, pid):
        end(process, control, pid)
        output, _ = process.communicate(timeout=60)
        assert output == b""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_worker_dies_with_the_launcher() -> None:
    with run_hanging_worker() as (process, _, pid):
        process.kill()
        process.wait()
        while is_running(pid):
            time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii") as file:
        return "\nState:\tZ" not in file.read()
    return False
