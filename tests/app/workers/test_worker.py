"""A worker process whose service ends, and a service that cannot start a process."""

import asyncio
import errno
import os
import socket
import subprocess
import sys

import pytest

from app.errors import NotReadyError
from app.settings import Settings
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
worker.main()
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
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("asyncio.create_subprocess_exec", refuse)

    async def check() -> None:
        worker = ProcessWorker(Settings(), 5.0)
        for _ in range(2):
            with pytest.raises(NotReadyError, match="Too many open files"):
                await worker.start()
        assert worker.pid is None

    asyncio.run(check())
