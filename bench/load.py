"""Prints, as JSON lines, how much a service takes: clients in a closed loop, against a real server process on loopback.

    python -m bench.load INDEX [--clients 1 8 32 128] [--seconds 20] [--rows search verify frames floor]

For each row: requests a second, quantiles of their time, statuses, the 99th percentile of /livez asked beside them, and
the resident memory of service and workers (PSS: with what they share counted once). `at 80 %` is a Poisson stream at
0.8 of the rate asked of a row. `floor` is an empty FastAPI endpoint that reads the same bodies, in its own process.
The load generator shares the cores.
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

from bench.bodies import FORM, frame_bodies, point_bodies
from bench.closed_loop import Connection, closed_loop, open_loop
from bench.service import PORT, await_answer, served

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
    """What is asked, and how many answers a second are asked of the service."""

    media_type: str
    bodies: list[bytes]
    asked_per_second: float


def main() -> None:
    options = _options()
    rows = {name: row for name, row in _rows(options.index).items() if name in options.rows}
    with served(options.index, PORT) as (_, process):
        for name, row in rows.items():
            _measure(options, name, row, PORT, process.pid)
            stream = open_loop(
                PORT, "/predict", row.media_type, row.bodies, 0.8 * row.asked_per_second, options.seconds
            )
            _print(f"{name}, at 80 % of {row.asked_per_second:g}/s", asyncio.run(stream).figures())
    if "floor" in options.rows:
        with _floor() as pid:
            for name, row in rows.items():
                _measure(options, f"floor of {name}", row, FLOOR_PORT, pid)


def _measure(options: argparse.Namespace, name: str, row: Row, port: int, pid: int) -> None:
    for clients in options.clients:
        figures = asyncio.run(_measured(row, port, clients, options.seconds))
        _print(f"{name}, {clients} clients", figures | memory(pid))


async def _measured(row: Row, port: int, clients: int, seconds: float) -> dict[str, object]:
    """The load's figures, and how long /livez took at most in 99 % of cases while it ran."""
    probing = asyncio.create_task(_probed(port))
    load = await closed_loop(port, "/predict", row.media_type, row.bodies, clients, seconds)
    probing.cancel()
    lives = await probing
    return {
        **load.figures(),
        "livez_p99_ms": round(1e3 * float(np.quantile(lives, 0.99)), 1) if lives else None,
    }


async def _probed(port: int) -> list[float]:
    """Times of /livez, asked ten times a second until cancelled; none where there is no such path."""
    spent: list[float] = []
    with closing(Connection(port)) as connection, suppress(asyncio.CancelledError):
        while True:
            asked = perf_counter()
            status, _ = await connection.ask("GET", "/livez", b"", {})
            if status == 200:
                spent.append(perf_counter() - asked)
            await asyncio.sleep(0.1)
    return spent


def _print(name: str, figures: dict[str, object]) -> None:
    print(json.dumps({"row": name, **figures}), flush=True)


def _rows(index: Path) -> dict[str, Row]:
    rng = np.random.default_rng(0)
    points = {
        effort: [json.dumps(body | {"effort": effort}).encode() for body in point_bodies(index, 64, rng)]
        for effort in ("search", "verify")
    }
    return {
        "search": Row(JSON, points["search"], 60),
        "verify": Row(JSON, points["verify"], 25),
        "frames": Row(FORM, frame_bodies(index, 16, rng), 10),
    }


def memory(pid: int) -> dict[str, float]:
    """Resident memory of a process and all below it, in MB: the sum, and with what is shared counted once."""
    members = [pid, *_below(pid)]
    return {
        "rss_mb": round(sum(_kilobytes(each, "status", "VmRSS") for each in members) / 1e3),
        "pss_mb": round(sum(_kilobytes(each, "smaps_rollup", "Pss") for each in members) / 1e3),
    }


def _below(pid: int) -> list[int]:
    """Children, their children, and so on."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # of a thread that has just ended
            children += [int(each) for each in task.read_text().split()]
    return children + [each for child in children for each in _below(child)]


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


@contextmanager
def _floor() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", FLOOR % FLOOR_PORT]) as process:
        try:
            await_answer(f"http://127.0.0.1:{FLOOR_PORT}/docs")
            yield process.pid
        finally:
            process.terminate()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=20.0)
    rows = ["search", "verify", "frames", "floor"]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    return parser.parse_args()


if __name__ == "__main__":
    main()
