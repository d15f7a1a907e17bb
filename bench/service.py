"""A service process for a benchmark: `with run_service(index) as (url, process)`."""

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
def run_service(
    index: Path, port: int = PORT, environment: Mapping[str, str] | None = None
) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """Run a service with an index inside the block; yield its address and process.

    Raises:
        RuntimeError: the port is in use, or the service ended or was not ready within a minute.
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
    # The log goes to a file: a pipe that nobody reads would fill up and block the service.
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        ) as process,
    ):
        try:
            wait_for_answer(f"{url}/readyz", lambda: _read_failure(process, log))
            yield url, process
        finally:
            process.terminate()


def _check_port(port: int) -> None:
    """Check that no other service uses the port, which would be measured instead."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise RuntimeError(
                f"Port {port} is not available: {error.strerror}; stop other benchmarks first."
            ) from None


def wait_for_answer(url: str, failed: Callable[[], str | None] = lambda: None) -> None:
    """Wait until an address responds with status 200.

    Args:
        url: address to poll.
        failed: function that returns the reason if there will be no response, else None.

    Raises:
        RuntimeError: the service failed, or a minute has passed.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if reason := failed():
            raise RuntimeError(reason)
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url} did not respond within {START_SECONDS} s.")


def _read_failure(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> str | None:
    if process.poll() is None:
        return None
    log.seek(0)
    return f"The service ended: {log.read().decode().strip()}"
