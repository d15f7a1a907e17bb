"""Prints, as JSON, how often both crystals of a twisted pair are found by one pattern, and how well their twist.

    python -m bench.twist INDEX [--pairs 200] [--effort verify] [--seed 0]

Pairs of two different monolayers of the split's test part at a random twist, one upon the other in the beam: their
multislice patterns (`bench/queries.py`) are added, spots that coincide are one. The elements of both together are
known. A pair is found when both are among the first three candidates. The twist is that of the a axes, as small as
the symmetry of the lattices makes it; lattices with a nearly equal b, whose a axis is a matter of taste, are not
drawn, nor pairs twisted by less than a degree.
"""

import argparse
import json
from contextlib import closing
from math import gcd
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.queries import VOLTAGE_KV, Instrument, twisted_pair
from index.chemistry.elements import ElementFilter
from index.search.retriever import Retriever
from index.storage.catalog import Catalog
from index.storage.layout import CATALOG_NAME
from index.storage.versions import find_version_folder
from model.crystal.crystal import Crystal
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads
from model.training.split import SplitPart, assign_part, read_split_settings

TOP = 3


def main() -> None:
    options = _options()
    limit_threads(1)
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    seed, held_out = read_split_settings(towers.training)
    with closing(Catalog.open(find_version_folder(options.index) / CATALOG_NAME)) as catalog:
        crystals = [
            entry.crystal
            for entry in catalog
            if assign_part(entry.formula, seed, held_out) is SplitPart.TEST
            and "bilayer" not in entry.source.lower()
            and _period_deg(entry.crystal) is not None
        ]
    both, told, errors, verdicts = [], [], [], []
    with Retriever.open(options.index, towers) as retriever:
        for _ in tqdm(range(options.pairs), unit="pair"):
            pair, spots, twist = _drawn(crystals, rng)
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
            told.append(result.overlapping_lattices is not None)
            verdicts.append(result.verdict)
            if result.twist is not None:
                errors.append(abs(result.twist.angle_deg - twist))
    print(
        json.dumps(
            {
                "pairs": len(both),
                "effort": options.effort,
                "both_in_the_first_three": round(float(np.mean(both)), 4),
                "two_lattices_told": round(float(np.mean(told)), 4),
                "twist_error_deg": {
                    "median": round(float(np.median(errors)), 4),
                    "within_0.3": round(float((np.array(errors) <= 0.3).sum() / len(both)), 4),
                },
                "no_match": round(verdicts.count("no_match") / len(both), 4),
            }
        )
    )


def _drawn(crystals: list[Crystal], rng: np.random.Generator) -> tuple[list[Crystal], Spots, float]:
    """A pair, its pattern and its twist, degrees."""
    while True:
        pair = [crystals[int(row)] for row in rng.choice(len(crystals), 2, replace=False)]
        spots: Spots
        spots, axes = twisted_pair(pair[0], pair[1], Instrument(), rng)
        period = gcd(*(_period_deg(crystal) or 180 for crystal in pair))
        first, second = np.degrees(np.arctan2(axes[:, 1], axes[:, 0]))
        angle = float(second - first) % period
        twist = min(angle, period - angle)
        if twist >= 1.0:
            return pair, spots, twist


def _period_deg(crystal: Crystal) -> int | None:
    """Angle after which the lattice is the same again; None where its a axis is a matter of taste."""
    (a, b), across = np.linalg.norm(crystal.lattice, axis=1), crystal.lattice[0] @ crystal.lattice[1]
    cosine = abs(float(across / (a * b)))
    if b / a < 1.005:
        if abs(cosine - 0.5) < 0.005:
            return 60
        if cosine < 0.005:
            return 90
    return None if b / a < 1.04 else 180


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--effort", choices=["verify", "full"], default="verify")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
