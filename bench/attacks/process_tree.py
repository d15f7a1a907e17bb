"""The processes of a service: which there are, the memory they use together, and whether they have ended."""

import os
import threading
import time
from pathlib import Path
from types import TracebackType

from app.workers.launcher import WORKER_NAME

PERIOD_S = 0.05
_EXACT_PERIOD_S = 1.0
_LAUNCHER_MARK = b"app.workers.launcher"


def list_descendants(pid: int) -> list[int]:
    """Return the process ids of all other processes of a service.

    They share a session with one of its launchers, but a standby that has taken over has lost its parent.
    """
    sessions = {_get_session(each) for each in _list_forked(pid)} - {None}
    return [each for each in _list_processes() if _get_session(each) in sessions]


def list_launchers(pid: int) -> list[int]:
    """Return the process ids of the launchers of a service's workers, of which there is one, without the standby."""
    return list({parent for each in list_workers(pid) for parent in _read_parent(each)})


def list_workers(pid: int) -> list[int]:
    """Return the process ids of the workers of a service, which its launcher has forked."""
    return [each for each in _list_forked(pid) if _read(each, "comm").strip() == WORKER_NAME]


def _list_forked(pid: int) -> list[int]:
    """Return the ids of launcher, standby and workers: all have the command of the launcher, with the service's id."""
    command = f"\0{pid}\0".encode()
    return [
        each
        for each in _list_processes()
        if _LAUNCHER_MARK in (read := _read(each, "cmdline")) and read.endswith(command)
    ]


def _list_processes() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdecimal()]


def _get_session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _read(pid: int, file: str) -> bytes:
    """Return the content of a file about a process; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return b""


def _read_parent(pid: int) -> list[int]:
    return [int(each) for each in _read(pid, "stat").rpartition(b")")[2].split()[1:2]]


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def wait_until_ended(pids: list[int], seconds: float) -> float | None:
    """Wait until processes have ended; return the seconds that took, None if some are still running."""
    begun = time.monotonic()
    while any(is_running(pid) for pid in pids):
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - begun


def measure_memory(pid: int) -> int:
    """Return the private memory of a service's processes in bytes; shared pages count once.

    Pages of files, such as the index and the libraries, are not counted: the system can drop them.
    """
    return 1024 * sum(_read_fields(each, "smaps_rollup", _PSS) for each in (pid, *list_descendants(pid)))


_PSS = ("Pss_Anon:", "Pss_Shmem:")
_RSS = ("RssAnon:", "RssShmem:")


def _estimate_memory(pid: int) -> int:
    """Return the same without counting shared pages once, which costs next to nothing to read."""
    return 1024 * sum(_read_fields(each, "status", _RSS) for each in (pid, *list_descendants(pid)))


def _read_fields(pid: int, file: str, names: tuple[str, ...]) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(names))


class MemoryWatch:
    """Follows the memory of a service in a thread, inside a `with` block; `peak` is in bytes.

    Args:
        pid: process id of the service.
        limit: at this much memory in bytes, `exceeded` is set.
    """

    def __init__(self, pid: int, limit: int) -> None:
        self.peak = 0
        self.exceeded = threading.Event()
        self._pid, self._limit = pid, limit
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        highest, exact_due = 0, 0.0
        while not self._over.wait(PERIOD_S):
            # The exact figure is read when it may be a new peak, and each second: reading it takes milliseconds.
            estimate = _estimate_memory(self._pid)
            if estimate > highest or time.monotonic() > exact_due:
                self.peak = max(self.peak, measure_memory(self._pid))
                highest, exact_due = max(estimate, highest), time.monotonic() + _EXACT_PERIOD_S
            if self.peak > self._limit:
                self.exceeded.set()


def read_log_size(pid: int) -> int:
    """Return the size in bytes of the file that a process logs to."""
    return os.stat(f"/proc/{pid}/fd/1").st_size


def read_log(pid: int, start: int = 0) -> str:
    """Return what a process has logged to its file since a position in bytes."""
    with open(f"/proc/{pid}/fd/1", "rb") as log:
        log.seek(start)
        return log.read().decode("utf-8", "replace")
