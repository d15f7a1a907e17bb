"""The service under attack: two workers on a free port of loopback, with keys or without."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.attacks.process_tree import is_running, list_descendants, list_workers, wait_until_ended
from bench.service import run_service

WORKERS = 2
ROLES = ("read", "write", "admin")
_MAX_END_S = 5.0


@dataclass(frozen=True)
class Victim:
    """A running service.

    Attributes:
        port: its port on loopback.
        pid: its process id.
        index: the folder of its index, a copy that may be damaged.
        keys: an API key for each role, empty if the service has no keys.
    """

    port: int
    pid: int
    index: Path
    keys: Mapping[str, str]

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return list_workers(self.pid)

    @property
    def is_running(self) -> bool:
        """Whether the process of the service still runs."""
        return is_running(self.pid)


@contextmanager
def run_victim(index: Path, folder: Path, *, with_keys: bool = False) -> Iterator[Victim]:
    """Run a service inside the block; what is left of it some seconds later is killed.

    Args:
        index: folder of the index to serve.
        folder: where its keys and structures are written.
        with_keys: whether it requires API keys.

    Raises:
        RuntimeError: the service did not start.
    """
    environment = build_environment(folder)
    keys: dict[str, str] = {}
    if with_keys:
        keys = {role: _create_key(role, folder / "keys.jsonl") for role in ROLES}
        environment["DD2D_KEYS"] = str(folder / "keys.jsonl")
    port = find_free_port()
    with run_service(index, port, environment) as (_, process):
        members = [process.pid, *list_descendants(process.pid)]
        try:
            yield Victim(port, process.pid, index, keys)
        finally:
            members += [each for each in list_descendants(process.pid) if each not in members]
            process.terminate()
            _end(process, members)


def build_environment(folder: Path) -> dict[str, str]:
    """Return the settings of the service under attack, apart from its keys."""
    return {"DD2D_WORKERS": str(WORKERS), "DD2D_USER_STRUCTURES": str(folder / "user_structures.sqlite")}


def _end(process: "subprocess.Popen[bytes]", members: list[int]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_MAX_END_S)
    if wait_until_ended(members, 2.0) is None:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def find_free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert isinstance(port, int)
    return port


def _create_key(role: str, file: Path) -> str:
    program = str(Path(sys.executable).with_name("dd2d"))
    command = [program, "key", "create", role, "--role", role, "--keys", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return next(word for word in run.stdout.split() if word.startswith("dd2d_"))
