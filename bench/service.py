"""A service of its own for a benchmark: `with served(index) as (url, process)`."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2

START_SECONDS = 60
PORT = 8765


@contextmanager
def served(
    index: Path, port: int = PORT, environment: Mapping[str, str] | None = None
) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """The address and the process of a service of this index; it ends with the block.

    Raises:
        RuntimeError: the port is taken, the service ended, or was not ready within a minute.
    """
    _check_port(port)
    url = f"http://127.0.0.1:{port}"
    command = [
        str(Path(sys.executable).with_name("dd2d")),
        "serve",
        "--index",
        str(index),
        "--port",
        str(port),
    ]
    # Its log goes to a file: a pipe that nobody reads would fill up and stop it.
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        ) as process,
    ):
        try:
            await_answer(f"{url}/readyz", lambda: _end_of(process, log))
            yield url, process
        finally:
            process.terminate()


def _check_port(port: int) -> None:
    """Another's service would answer in place of ours, and be what is measured."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise RuntimeError(f"port {port}: {error.strerror}; is another benchmark running?") from None


def await_answer(url: str, failed: Callable[[], str | None] = lambda: None) -> None:
    """Wait until an address answers with 200.

    Args:
        url: asked again and again.
        failed: why there will be no answer; None while there may be one.

    Raises:
        RuntimeError: it failed, or a minute has passed.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if told := failed():
            raise RuntimeError(told)
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url} did not answer within {START_SECONDS} s")


def _end_of(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> str | None:
    if process.poll() is None:
        return None
    log.seek(0)
    return f"the service ended: {log.read().decode().strip()}"
