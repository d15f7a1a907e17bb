"""Starts the service of a checkout as a process, with an index of the starter library and API keys."""

import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.golden.translation import translate_setting
from tests.paths import ROOT

START_SECONDS = 90
STOP_SECONDS = 15
ROLES = ("read", "write", "admin")

# Whatever makes sums depend on the machine's load is pinned: one worker, one thread, requests one after another.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SETTINGS = {
    "DD2D_WORKERS": "1",
    "DD2D_TORCH_THREADS": "1",
    "DD2D_DEADLINE_S": "120",
    "DD2D_LOG_LEVEL": "warning",
    "DD2D_MAX_UPLOAD_BYTES": str(4 * 2**20),
    "DD2D_MAX_JSON_BYTES": str(4 * 2**20),
    "DD2D_MAX_BATCH_BYTES": str(4 * 2**20),
}


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        url: its address.
        keys: an API key of each role.
    """

    url: str
    keys: Mapping[str, str]


def build_index(folder: Path, checkout: Path = ROOT) -> None:
    """Build an index of the starter library with the code of a checkout."""
    _run_command(checkout, "index", "build", "starter", "--out", str(folder))


@contextmanager
def run_service(index: Path, folder: Path, checkout: Path = ROOT) -> Iterator[Service]:
    """A service of an index; it stops when the block ends.

    Args:
        index: folder of the index, which is not written to.
        folder: where the keys, the log and added structures are kept.
        checkout: root of the code that is run.

    Raises:
        RuntimeError: the service did not start.
    """
    key_file = folder / "keys.jsonl"
    keys = {role: _create_key(role, key_file, checkout) for role in ROLES}
    settings = {**_SETTINGS, "DD2D_KEYS": str(key_file), "DD2D_ADDED": str(folder / "added.sqlite")}
    port = _find_free_port()
    command = _command(checkout, "serve", "--index", str(index), "--port", str(port))
    environment = _environment(checkout) | {translate_setting(name): each for name, each in settings.items()}
    log = folder / "service.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=checkout, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, log)
            yield Service(url, keys)
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _command(checkout: Path, *arguments: str) -> list[str]:
    """The console script `dd2d` of a checkout, wherever its module is."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["dd2d"].split(":")
    code = f"import sys; from {module} import {function} as main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def _environment(checkout: Path) -> dict[str, str]:
    """Without settings of the machine; worker processes find the checkout by PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DD2D_")}
    return {**kept, **_THREADS, "PYTHONPATH": str(checkout)}


def _run_command(checkout: Path, *arguments: str) -> str:
    command = _command(checkout, *arguments)
    done = subprocess.run(
        command, cwd=checkout, env=_environment(checkout), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"dd2d {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _create_key(role: str, key_file: Path, checkout: Path) -> str:
    return _run_command(checkout, "key", "create", f"golden-{role}", "--role", role, "--keys", str(key_file))


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended: {log.read_text(encoding='utf-8').strip()}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the service was not ready within {START_SECONDS} s; see {log}")
