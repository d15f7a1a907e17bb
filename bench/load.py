"""Measure the throughput of a service process on loopback with clients in a closed loop; print JSON lines.

    python -m bench.load INDEX [--clients 1 8 32 128] [--seconds 20] [--rows search verify frames floor]

Each row has the requests per second, quantiles of their time, the statuses, the 99th percentile of concurrent /livez
requests, and the resident memory of service and workers (PSS counts shared memory once). `at 80 %` is a Poisson stream
at 0.8 of the target rate of a row. `floor` is an empty FastAPI endpoint in a process of its own that reads the same
bodies. The load generator shares the cores.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.bodies import FORM, build_frame_bodies, build_point_bodies
from bench.closed_loop import Connection, run_closed_loop, run_open_loop
from bench.library import build_parser
from bench.service import PORT, run_service, wait_for_answer

FLOOR_PORT = PORT + 1
JSON = "application/json"
FLOOR = """
import uvicorn
from fastapi import FastAPI, Request
app = FastAPI()
@app.post("/predict")
async def predict(request: Request):
    return {"bytes": len(await request.body())}
uvicorn.run(app, port=%d, log_level="warning", access_log=False)
"""


@dataclass(frozen=True)
class Row:
    """Requests of one row, and their target rate."""

    media_type: str
    bodies: list[bytes]
    requests_per_second: float


def main() -> None:
    options = _parse_options()
    rows = {name: row for name, row in _build_rows(options.index).items() if name in options.rows}
    with run_service(options.index, PORT) as (_, process):
        for name, row in rows.items():
            _measure(options, name, row, PORT, process.pid)
            stream = run_open_loop(
                PORT, "/predict", row.media_type, row.bodies, 0.8 * row.requests_per_second, options.seconds
            )
            _print(f"{name}, at 80 % of {row.requests_per_second:g}/s", asyncio.run(stream).summarize())
    if "floor" in options.rows:
        with _run_floor() as pid:
            for name, row in rows.items():
                _measure(options, f"floor of {name}", row, FLOOR_PORT, pid)


def _measure(options: argparse.Namespace, name: str, row: Row, port: int, pid: int) -> None:
    for clients in options.clients:
        figures = asyncio.run(_measure_load(row, port, clients, options.seconds))
        _print(f"{name}, {clients} clients", figures | measure_memory(pid))


async def _measure_load(row: Row, port: int, clients: int, seconds: float) -> dict[str, object]:
    """Run a load; return its figures and the 99th percentile of /livez during the load."""
    probing = asyncio.create_task(_probe(port))
    load = await run_closed_loop(port, "/predict", row.media_type, row.bodies, clients, seconds)
    probing.cancel()
    lives = await probing
    return {
        **load.summarize(),
        "livez_p99_ms": round(1e3 * float(np.quantile(lives, 0.99)), 1) if lives else None,
    }


async def _probe(port: int) -> list[float]:
    """Request /livez ten times a second until canceled and return the times; empty if there is no such path."""
    spent: list[float] = []
    with closing(Connection(port)) as connection, suppress(asyncio.CancelledError):
        while True:
            started = perf_counter()
            status, _ = await connection.send("GET", "/livez", b"", {})
            if status == 200:
                spent.append(perf_counter() - started)
            await asyncio.sleep(0.1)
    return spent


def _print(name: str, figures: dict[str, object]) -> None:
    print(json.dumps({"row": name, **figures}), flush=True)


def _build_rows(index: Path) -> dict[str, Row]:
    rng = np.random.default_rng(0)
    points = {
        effort: [
            json.dumps(body | {"effort": effort}).encode() for body in build_point_bodies(index, 64, rng)
        ]
        for effort in ("search", "verify")
    }
    return {
        "search": Row(JSON, points["search"], 60),
        "verify": Row(JSON, points["verify"], 25),
        "frames": Row(FORM, build_frame_bodies(index, 16, rng), 10),
    }


def measure_memory(pid: int) -> dict[str, float]:
    """Return the memory of a process and its descendants in MB: RSS, and PSS, which counts shared memory once."""
    members = [pid, *_list_descendants(pid)]
    return {
        "rss_mb": round(sum(_read_kilobytes(each, "status", "VmRSS") for each in members) / 1e3),
        "pss_mb": round(sum(_read_kilobytes(each, "smaps_rollup", "Pss") for each in members) / 1e3),
    }


def _list_descendants(pid: int) -> list[int]:
    """Return the process ids of all descendants."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread may have ended
            children += [int(each) for each in task.read_text().split()]
    return children + [each for child in children for each in _list_descendants(child)]


def _read_kilobytes(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


@contextmanager
def _run_floor() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", FLOOR % FLOOR_PORT]) as process:
        try:
            wait_for_answer(f"http://127.0.0.1:{FLOOR_PORT}/docs")
            yield process.pid
        finally:
            process.terminate()


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=20.0)
    rows = ["search", "verify", "frames", "floor"]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    return parser.parse_args()


if __name__ == "__main__":
    main()
