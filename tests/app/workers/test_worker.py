"""What a worker process does when its service is gone, and the service where no process can be had."""

import asyncio
import errno
import io
import os
import socket
import subprocess
import sys

import pytest

from app.errors import NotReadyError
from app.settings import Settings
from app.workers import wire
from app.workers.pool import ProcessWorker

# Reads until the service has closed, then answers it.
_LATE = (
    "from app.workers import worker as process, wire; "
    "process._work = lambda _settings, incoming, outgoing: (incoming.read(), wire.write(outgoing, {})); "
    "process.main()"
)


def test_a_worker_whose_service_is_killed_ends_without_a_trace() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        worker = subprocess.Popen(
            [sys.executable, "-c", _LATE], stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True
        )
    with ours, ours.makefile("wb") as stream:
        wire.write(stream, {"settings": {}})
    _, told = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert told == "the service ended while a worker was computing\n"


@pytest.mark.parametrize("kept", [5, -1])
def test_a_message_that_is_cut_is_no_message(kept: int) -> None:
    whole = b"".join(wire.packed({"kind": "predict"}, (b"upload",)))
    assert wire.read(io.BytesIO(whole)) == ({"kind": "predict"}, (b"upload",))
    assert wire.read(io.BytesIO()) is None
    with pytest.raises(ConnectionError, match="within a message"):
        wire.read(io.BytesIO(whole[:kept]))


def test_where_no_process_can_be_had_the_service_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
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
