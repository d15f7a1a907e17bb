"""A flipped bit in the files that answers rest on: at rest, when another version is published, and while serving."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from bench.attacks.ordinary_client import ask, build_questions
from bench.attacks.process_tree import read_log
from bench.attacks.requests import JSON, build_json, build_request
from bench.attacks.victim import Victim, build_environment, find_free_port, run_victim
from bench.hostile_structures import POSCAR
from index.storage.layout import CATALOG_NAME, CURRENT_NAME, ELEMENTS_NAME, MANIFEST_NAME, VECTORS_NAME
from index.storage.versions import find_version_folder
from model.towers.checkpoint import PRETRAINED

Check = Callable[[Path, Path], str]

PLACES = (0.05, 0.5, 0.95)
START_S = 60.0
NOTICE_S = 300.0
_PERIOD_S = 2.0
_FILES = (VECTORS_NAME, CATALOG_NAME, ELEMENTS_NAME, MANIFEST_NAME)
_STORE = "user_structures.sqlite"


def flip_bit(file: Path, place: float) -> None:
    """Flip one bit of a file in place, at a share of its length."""
    with file.open("r+b") as stream:
        stream.seek(int(place * file.stat().st_size))
        (byte,) = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 4]))


def _start_with_damage(name: str, index: Path, folder: Path) -> str:
    """Flip a bit of a file at three places in turn; a service must refuse to start each time."""
    outcomes = []
    for place in PLACES:
        with TemporaryDirectory(dir=folder) as copy:
            served = Path(shutil.copytree(index, Path(copy) / "index"))
            environment = build_environment(Path(copy))
            if name == "weights":
                towers = Path(shutil.copytree(PRETRAINED, Path(copy) / "towers"))
                environment["DD2D_MODEL"] = str(towers)
                flip_bit(towers / "towers.safetensors", place)
            elif name == _STORE:
                _add_structures(served, Path(copy))
                _flip_structure(Path(copy) / _STORE, place)
            else:
                flip_bit(find_version_folder(served) / name, place)
            outcomes.append(_start(served, environment))
    started = sum("ready" in each for each in outcomes)
    return f"{'missed: ' if started else ''}{'; '.join(dict.fromkeys(outcomes))}"


def _add_structures(index: Path, folder: Path) -> None:
    with run_victim(index, folder, with_keys=True) as victim:
        for number in range(3):
            body = build_json(structure=POSCAR.replace("3.16", f"3.{number + 2}"), id=f"mine/{number}")
            request = build_request("POST", "/structures", body, JSON, victim.keys["write"], {})
            status = asyncio.run(ask(victim.port, "add", request)).status
            if status != 201:
                raise RuntimeError(f"A structure could not be added: {status}.")


def _flip_structure(store: Path, place: float) -> None:
    """Flip a bit of what was stored: the file is mostly empty pages, so among the bytes that are not zero."""
    for file in (store, store.with_name(store.name + "-wal")):
        content = bytearray(file.read_bytes() if file.exists() else b"")
        filled = [at for at, byte in enumerate(content) if byte and at >= 4096]
        if filled:
            content[filled[int(place * len(filled))]] ^= 4
            file.write_bytes(content)
            return
    raise RuntimeError("The store of structures is empty.")


def _start(index: Path, environment: dict[str, str]) -> str:
    """Start a service and say whether it becomes ready or ends."""
    port = find_free_port()
    program = str(Path(sys.executable).with_name("dd2d"))
    command = [program, "serve", "--index", str(index), "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return f"refused to start (exit status {process.returncode})"
            if _get_status(port, "/readyz") == 200:
                return "became ready"
            time.sleep(0.2)
        return "neither ready nor ended"
    finally:
        process.terminate()
        process.wait()


def _get_status(port: int, path: str) -> int:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=5.0).status_code
    except httpx2.TransportError:
        return 0


@contextmanager
def _serve_copy(index: Path, folder: Path) -> Iterator[Victim]:
    with TemporaryDirectory(dir=folder) as copy:
        served = Path(shutil.copytree(index, Path(copy) / "index"))
        with run_victim(served, Path(copy), with_keys=True) as victim:
            yield victim


def _publish_damage(name: str, index: Path, folder: Path) -> str:
    """Publish a version with a flipped bit and ask for a reload; the service must keep the sound one."""
    with _serve_copy(index, folder) as victim:
        version = find_version_folder(victim.index)
        other = version.with_name(f"{version.name[:-1]}{(int(version.name[-1], 16) + 1) % 16:x}")
        shutil.copytree(version, other)
        flip_bit(other / name, 0.5)
        (victim.index / CURRENT_NAME).write_text(f"{other.name}\n{version.name}\n", encoding="ascii")
        request = build_request("POST", "/admin/reload", b"", JSON, victim.keys["admin"], {})
        status = asyncio.run(ask(victim.port, "reload", request)).status
        time.sleep(3.0)
        ready = _get_status(victim.port, "/readyz")
        served = httpx2.get(f"http://127.0.0.1:{victim.port}/version").json()
        right = status >= 400 and ready == 200
        outcome = f"reload {status}, then readyz {ready}, version {served.get('version')}"
        return outcome if right else f"missed: {outcome}"


def _serve_damage(name: str, index: Path, folder: Path) -> str:
    """Flip a bit of a file that is being served; within five minutes the service must say that it is not ready."""
    with _serve_copy(index, folder) as victim:
        questions = build_questions(victim.index, victim.keys["read"])["points"]
        flip_bit(find_version_folder(victim.index) / name, 0.5)
        damaged = time.monotonic()
        while time.monotonic() - damaged < NOTICE_S:
            if _get_status(victim.port, "/readyz") == 503:
                seconds = time.monotonic() - damaged
                status = asyncio.run(ask(victim.port, "points", questions[0])).status
                metrics = httpx2.get(
                    f"http://127.0.0.1:{victim.port}/metrics", headers={"X-API-Key": victim.keys["read"]}
                ).text
                signs = {
                    "log line with the file": name in read_log(victim.pid),
                    "metric": "dd2d_index_damaged 1.0" in metrics,
                    "no answer from damaged data": status == 503,
                }
                lacking = [sign for sign, is_there in signs.items() if not is_there]
                return f"{'missed: ' if lacking else ''}readyz 503 after {seconds:.0f} s" + (
                    f", without: {', '.join(lacking)}" if lacking else ""
                )
            time.sleep(_PERIOD_S)
        return f"missed: still ready after {NOTICE_S:g} s"


AT_REST: dict[str, Check] = {
    **{f"at-rest {name}": partial(_start_with_damage, name) for name in (*_FILES, "weights", _STORE)},
    **{f"reload {name}": partial(_publish_damage, name) for name in _FILES},
}
WHILE_SERVING: dict[str, Check] = {f"while-serving {name}": partial(_serve_damage, name) for name in _FILES}
