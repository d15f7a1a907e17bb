"""Measure how often the service finds the crystals of an independent multislice; print a table and JSON lines.

    python -m bench.multislice INDEX [--shared ../shared] [--seeds 3] [--effort search] [--rows NAME ...]

Starts a service with INDEX, which must contain `../shared/data/structures`, and queries it with the shared scorer
(`../shared/bench/score_service.py`), which also decides whether two crystals are the same. `--rows` selects some of the
query types. The JSON lines also contain the median error of the tilt.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.library import build_parser
from bench.service import run_service

FILES = {"straight": "multislice_dev.json.gz", "tilted": "multislice_dev_tilted.json.gz"}
ROWS: dict[str, list[str]] = {
    "points": ["--mode", "points", "--top-k", "100"],
    "points, elements known": ["--mode", "points", "--elements", "only"],
    "points, elements known, scale unknown": ["--mode", "points", "--elements", "only", "--scale", "unknown"],
    "frames": ["--mode", "frames", "--top-k", "100"],
    "frames, elements known": ["--mode", "frames", "--elements", "only"],
    "PNG": ["--mode", "png", "--top-k", "100"],
    "PNG, elements known": ["--mode", "png", "--elements", "only"],
}
LEVELS = (1, 3, 10, 100)


def main() -> None:
    options = _parse_options()
    bench = options.shared / "bench"
    print("| patterns | query | crystals | top-1 | top-3 | top-10 | top-100 | errors |")
    print("|---|---|---|---|---|---|---|---|")
    results = []
    with run_service(options.index) as (url, _):
        for kind, file in FILES.items():
            for name, words in ROWS.items():
                if name not in options.rows:
                    continue
                command = [sys.executable, str(bench / "score_service.py"), str(bench / file), "--url", url]
                command += [*words, "--effort", options.effort, "--seeds", str(options.seeds)]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                result = json.loads(printed.splitlines()[-1])
                results.append({"patterns": kind, "query": name, **result})
                _print_rows(kind, name, result)
    for each in results:
        print(json.dumps(each))


def _print_rows(kind: str, name: str, result: dict[str, Any]) -> None:
    for crystals in ("monolayers", "bilayers"):
        shares = result[crystals]
        cells = [f"{100 * shares[f'top{k}']:.1f}" if f"top{k}" in shares else "" for k in LEVELS]
        print(f"| {kind} | {name} | {crystals} | {' | '.join(cells)} | {result['errors']} |", flush=True)


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, default=3, help="instrument draws for each query")
    parser.add_argument("--effort", default="search")
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="query types to measure"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
