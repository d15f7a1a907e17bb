"""Measure the time of a point-cloud request that returns ten CIFs, over HTTP on this machine; print JSON.

    python -m bench.latency INDEX [--requests 300] [--effort search]

The patterns are simulated from crystals of the index, rotated and with 10 % intensity noise; one request at a time.
"""

import argparse
import json
import time
from typing import Any

import httpx2
import numpy as np

from bench.bodies import build_point_bodies
from bench.library import build_parser
from bench.service import run_service

WARM_UP_REQUESTS = 10


def main() -> None:
    options = _parse_options()
    rng = np.random.default_rng(0)
    bodies = [
        body | {"effort": options.effort} for body in build_point_bodies(options.index, options.requests, rng)
    ]
    with run_service(options.index) as (url, _), httpx2.Client(timeout=60) as client:
        answers = [_measure_request(client, url, body) for body in bodies[:WARM_UP_REQUESTS] + bodies][
            -len(bodies) :
        ]
    seconds = np.array([spent for spent, _ in answers])
    stages = {
        name: [answer["timing_ms"][name] for _, answer in answers] for name in answers[0][1]["timing_ms"]
    }
    print(
        json.dumps(
            {
                "effort": options.effort,
                "requests": len(answers),
                "crystals": answers[0][1]["provenance"]["crystals"],
                "cifs": int(np.median([len(answer["candidates"]) for _, answer in answers])),
                "median_ms": round(1e3 * float(np.median(seconds)), 2),
                "p95_ms": round(1e3 * float(np.quantile(seconds, 0.95)), 2),
                "stages_median_ms": {name: round(float(np.median(ms)), 2) for name, ms in stages.items()},
            }
        )
    )


def _measure_request(client: httpx2.Client, url: str, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    begun = time.perf_counter()
    response = client.post(f"{url}/predict", json=body)
    spent = time.perf_counter() - begun
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return spent, answer


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--effort", choices=["search", "verify", "full"], default="search")
    return parser.parse_args()


if __name__ == "__main__":
    main()
