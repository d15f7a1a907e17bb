"""A service of its own for a benchmark: `with served(index) as url`."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

START_SECONDS = 60


@contextmanager
def served(index: Path, port: int = 8765) -> Iterator[str]:
    """The address of a service of this index; it ends with the block.

    Raises:
        RuntimeError: the service ended, or was not ready within a minute.
    """
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
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _await_ready(url, process, log)
            yield url
        finally:
            process.terminate()


def _await_ready(url: str, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise RuntimeError(f"the service ended: {log.read().decode().strip()}")
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the service was not ready within {START_SECONDS} s")
