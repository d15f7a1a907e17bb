"""Measure how often both crystals of a twisted pair are found in one pattern, and the error of the twist angle.

    python -m bench.twist INDEX [--pairs 200] [--effort verify] [--seed 0]

A pair consists of two different monolayers of the test part at a random twist angle. Their multislice patterns
(`bench/queries.py`) are added, and coinciding spots are merged. The elements of both crystals are known. A pair is
found if both crystals are among the first three candidates. The twist angle is that of the a axes, reduced by the
symmetry of the lattices. Lattices with nearly equal a and b, whose a axis is arbitrary, and twists below one degree
are excluded. Prints JSON.
"""

import argparse
import json
from math import gcd

import numpy as np
from tqdm import tqdm

from bench.library import build_parser, open_catalog, select_part
from bench.queries import VOLTAGE_KV, Instrument, simulate_twisted_pair
from index.chemistry.elements import ElementFilter
from index.search.retriever import Retriever
from model.crystal.crystal import Crystal
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads

TOP = 3


def main() -> None:
    options = _parse_options()
    limit_threads(1)
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    with open_catalog(options.index) as catalog:
        crystals = [
            entry.crystal
            for entry in select_part(catalog)
            if "bilayer" not in entry.source.lower() and _period_deg(entry.crystal) is not None
        ]
    both, two_lattices, errors, verdicts = [], [], [], []
    with Retriever.open(options.index, towers) as retriever:
        for _ in tqdm(range(options.pairs), unit="pair"):
            pair, spots, twist = _draw_pair(crystals, rng)
            elements = tuple(sorted({symbol for crystal in pair for symbol in crystal.elements}))
            result = retriever.search(
                spots,
                voltage_kv=VOLTAGE_KV,
                elements=ElementFilter(all=elements, only=elements),
                effort=options.effort,
                top_k=TOP,
            )
            names = {id for candidate in result.candidates for id in (candidate.entry.id, *candidate.same_as)}
            both.append(all(crystal.id in names for crystal in pair))
            two_lattices.append(result.overlapping_lattices is not None)
            verdicts.append(result.verdict)
            if result.twist is not None:
                errors.append(abs(result.twist.angle_deg - twist))
    print(
        json.dumps(
            {
                "pairs": len(both),
                "effort": options.effort,
                "both_in_the_first_three": round(float(np.mean(both)), 4),
                "two_lattices_found": round(float(np.mean(two_lattices)), 4),
                "twist_error_deg": {
                    "median": round(float(np.median(errors)), 4),
                    "within_0.3": round(float((np.array(errors) <= 0.3).sum() / len(both)), 4),
                },
                "no_match": round(verdicts.count("no_match") / len(both), 4),
            }
        )
    )


def _draw_pair(crystals: list[Crystal], rng: np.random.Generator) -> tuple[list[Crystal], Spots, float]:
    """Draw a pair; return its crystals, its spots and its twist angle in degrees."""
    while True:
        pair = [crystals[int(row)] for row in rng.choice(len(crystals), 2, replace=False)]
        spots: Spots
        spots, axes = simulate_twisted_pair(pair[0], pair[1], Instrument(), rng)
        period = gcd(*(_period_deg(crystal) or 180 for crystal in pair))
        first, second = np.degrees(np.arctan2(axes[:, 1], axes[:, 0]))
        angle = float(second - first) % period
        twist = min(angle, period - angle)
        if twist >= 1.0:
            return pair, spots, twist


def _period_deg(crystal: Crystal) -> int | None:
    """Return the angle after which a lattice repeats; None if its a axis is arbitrary."""
    (a, b), across = np.linalg.norm(crystal.lattice, axis=1), crystal.lattice[0] @ crystal.lattice[1]
    cosine = abs(float(across / (a * b)))
    if b / a < 1.005:
        if abs(cosine - 0.5) < 0.005:
            return 60
        if cosine < 0.005:
            return 90
    return None if b / a < 1.04 else 180


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--effort", choices=["verify", "full"], default="verify")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
