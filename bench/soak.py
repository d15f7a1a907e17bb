"""Run a service for a long time with good and bad requests, new structures and new versions; print JSON lines.

    python -m bench.soak INDEX [--minutes 30] [--reloads 20] [--bad 0]

The index is copied, with a second version. Clients send points, frames, batches and bad requests, while one client adds
and removes structures and another changes the version. Every good request must get a 2xx status (429 and 503 are sent
again), every bad one a 4xx status. Each line has the counts and the memory of service and workers; the last one has the
failures and the growth of memory from the second fifth of the time to the last. With `--bad N` only N bad requests are
sent.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from bench.bad_requests import draw_bad_request
from bench.bodies import FORM, build_frame_bodies, build_point_bodies
from bench.closed_loop import BACK_OFF_S, Connection
from bench.library import build_parser
from bench.load import measure_memory
from bench.service import PORT, run_service
from index.starter.library import read_starter_entries
from index.storage.layout import CURRENT_NAME
from index.storage.versions import find_version_folder
from model.crystal.structure_files import write_cif

JSON_TYPE = {"Content-Type": "application/json"}
LINE_S = 60.0


@dataclass
class Soak:
    """State of the run.

    Attributes:
        port: port of the service.
        ends: end of the run, by the monotonic clock.
        statuses: number of responses by kind of request and status.
        failed: unexpected responses, with the beginning of their content.
        memory_mb: RSS of service and workers at each line; PSS depends on other processes.
    """

    port: int
    ends: float
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    async def send(
        self, connection: Connection, kind: str, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Send a request until the status is neither 429 nor 503."""
        while True:
            status, content = await connection.send(method, path, body, headers)
            self.statuses[kind, status] += 1
            if status not in {429, 503}:
                return status, content
            await asyncio.sleep(BACK_OFF_S)

    def expect(self, kind: str, right: bool, status: int, content: bytes) -> None:
        """Record a response that is not as expected."""
        if not right:
            self.failed.append(f"{kind}: {status} {content[:200]!r}")

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return time.monotonic() > self.ends


def main() -> None:
    options = _parse_options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = _copy_with_two_versions(options.index, folder / "index")
        keys = {role: _create_key(role, folder / "keys.jsonl") for role in ("read", "write", "admin")}
        environment = {
            "DD2D_KEYS": str(folder / "keys.jsonl"),
            "DD2D_USER_STRUCTURES": str(folder / "user_structures.sqlite"),
        }
        with run_service(index, PORT, environment) as (_, process):
            if options.bad:
                asyncio.run(_send_bad_requests(options, keys, process.pid))
            else:
                asyncio.run(_run_mixed(options, index, keys, process.pid))


async def _send_bad_requests(options: argparse.Namespace, keys: dict[str, str], pid: int) -> None:
    soak = Soak(PORT, float("inf"))
    rng = np.random.default_rng(options.seed)
    left = options.bad

    async def client() -> None:
        nonlocal left
        with closing(Connection(PORT)) as connection:
            while left > 0:
                left -= 1
                await _send_bad(soak, connection, keys, rng)

    # Memory that is allocated once is allocated by the first requests.
    left, rest = min(1000, options.bad), max(options.bad - 1000, 0)
    await asyncio.gather(*(client() for _ in range(options.clients)))
    before = measure_memory(pid)
    left = rest
    await asyncio.gather(*(client() for _ in range(options.clients)))
    counts: Counter[int] = Counter()
    for (_, status), count in soak.statuses.items():
        counts[status] += count
    summary = {"statuses": {str(status): count for status, count in sorted(counts.items())}}
    failed = {"failures": len(soak.failed), "failed": soak.failed[:20]}
    print(json.dumps({**summary, **failed, "after_1000": before, "at_end": measure_memory(pid)}))


async def _run_mixed(options: argparse.Namespace, index: Path, keys: dict[str, str], pid: int) -> None:
    soak = Soak(PORT, time.monotonic() + 60 * options.minutes)
    rng = np.random.default_rng(options.seed)
    points = [json.dumps(body).encode() for body in build_point_bodies(index, 64, rng)]
    quick = [json.dumps(body | {"effort": "search"}).encode() for body in build_point_bodies(index, 64, rng)]
    frames = build_frame_bodies(index, 8, rng)
    reads = {"Authorization": f"Bearer {keys['read']}"}
    good: list[tuple[str, str, list[bytes], dict[str, str]]] = [
        ("verify", "/predict", points, reads | JSON_TYPE),
        ("search", "/predict", quick, reads | JSON_TYPE),
        ("frame", "/predict", frames, reads | {"Content-Type": FORM}),
        ("inspect", "/inspect", frames, reads | {"Content-Type": FORM}),
        ("batch", "/predict/batch", frames, reads | {"Content-Type": FORM}),
    ]

    async def client() -> None:
        with closing(Connection(PORT)) as connection:
            while not soak.is_over:
                if rng.random() < 0.3:
                    await _send_bad(soak, connection, keys, rng)
                    continue
                kind, path, bodies, headers = good[int(rng.integers(len(good)))]
                body = bodies[int(rng.integers(len(bodies)))]
                status, content = await soak.send(connection, kind, "POST", path, body, headers)
                whole = kind != "batch" or json.loads(content)["status"] == 200
                soak.expect(kind, status == 200 and whole, status, content)

    changes = [
        _change_structures(soak, keys["write"], rng),
        _change_versions(soak, index, keys["admin"], options.reloads),
    ]
    clients = [client() for _ in range(options.clients)]
    await asyncio.gather(_report(soak, pid), *changes, *clients)
    fifth = max(len(soak.memory_mb) // 5, 1)
    first, last = median(soak.memory_mb[fifth : 2 * fifth] or soak.memory_mb), median(soak.memory_mb[-fifth:])
    summary = {
        "failures": len(soak.failed),
        "failed": soak.failed[:20],
        "memory_growth": round(last / first - 1, 4),
    }
    print(json.dumps({**_format_counts(soak), **summary}))


async def _send_bad(
    soak: Soak, connection: Connection, keys: dict[str, str], rng: np.random.Generator
) -> None:
    bad = draw_bad_request(rng)
    headers = {"Authorization": f"Bearer {keys['read']}", "Content-Type": bad.media_type}
    status, content = await soak.send(connection, "bad", "POST", bad.path, bad.body, headers)
    soak.expect("bad", 400 <= status < 500, status, content)


async def _change_structures(soak: Soak, key: str, rng: np.random.Generator) -> None:
    """Add structures, look them up and remove them."""
    headers = {"Authorization": f"Bearer {key}"}
    crystals = [entry.crystal for entry in read_starter_entries()]
    with closing(Connection(PORT)) as connection:
        while not soak.is_over:
            text = write_cif(crystals[int(rng.integers(len(crystals)))])
            body = json.dumps({"structure": text, "id": f"soak-{int(rng.integers(50))}"}).encode()
            status, content = await soak.send(
                connection, "add", "POST", "/structures", body, headers | JSON_TYPE
            )
            soak.expect("add", status in {200, 201, 409}, status, content)
            if status == 201:
                path = f"/structures/{json.loads(content)['id']}"
                status, content = await soak.send(connection, "find", "GET", path, b"", headers)
                soak.expect("find", status == 200, status, content)
                if rng.random() < 0.7:
                    status, content = await soak.send(connection, "remove", "DELETE", path, b"", headers)
                    soak.expect("remove", status == 204, status, content)
            await asyncio.sleep(0.5)


async def _change_versions(soak: Soak, index: Path, key: str, reloads: int) -> None:
    """Change between the versions."""
    headers = {"Authorization": f"Bearer {key}", **JSON_TYPE}
    names = sorted(path.name for path in index.iterdir() if (path / "manifest.json").is_file())
    pause = (soak.ends - time.monotonic()) / (reloads + 1)
    with closing(Connection(PORT)) as connection:
        for turn in range(reloads):
            await asyncio.sleep(pause)
            body = json.dumps({"version": names[turn % len(names)]}).encode()
            status, content = await soak.send(connection, "reload", "POST", "/admin/reload", body, headers)
            soak.expect("reload", status == 200, status, content)


async def _report(soak: Soak, pid: int) -> None:
    while not soak.is_over:
        await asyncio.sleep(min(LINE_S, max(soak.ends - time.monotonic(), 0.1)))
        soak.memory_mb.append(measure_memory(pid)["rss_mb"])
        print(
            json.dumps({**_format_counts(soak), "failures": len(soak.failed), **measure_memory(pid)}),
            flush=True,
        )


def _format_counts(soak: Soak) -> dict[str, object]:
    return {f"{kind} {status}": count for (kind, status), count in sorted(soak.statuses.items())}


def _copy_with_two_versions(source: Path, target: Path) -> Path:
    """Copy an index as two versions with the same content."""
    version = find_version_folder(source)
    other = f"{version.name[:-1]}{(int(version.name[-1], 16) + 1) % 16:x}"
    for name in (version.name, other):
        shutil.copytree(version, target / name)
    (target / CURRENT_NAME).write_text(version.name + "\n", encoding="ascii")
    return target


def _create_key(role: str, file: Path) -> str:
    command = [
        str(Path(sys.executable).with_name("dd2d")),
        "key",
        "create",
        role,
        "--role",
        role,
        "--keys",
        str(file),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return next(word for word in run.stdout.split() if word.startswith("dd2d_"))


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--bad", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
