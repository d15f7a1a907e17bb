"""Compare the search with pyxem's template matching over the same crystals; print a table and JSON.

    python -m venv ENV && ENV/bin/pip install pyxem
    python -m bench.template_matching INDEX --pyxem ENV/bin/python [--queries 100] [--noise 0.15] [--seed 0] [--tilted]

The queries are those of `bench/accuracy.py`, without chemistry. pyxem correlates an image of the spots with a kinematic
template of every crystal in the index (`bench/pyxem_templates.py`), mirrored and not, at all rotations: once with every
template and once at its fastest setting, which preselects a few by their radial profile. The templates have no tilt;
with `--tilted` each crystal has seven (no tilt, and 3 degrees in six directions). The dependencies of pyxem conflict
with those of this project, so it needs an environment of its own. It uses both cores, the search only one.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.library import SOURCE, build_parser, compute_top_shares, find_rank, open_catalog, select_part
from bench.queries import VOLTAGE_KV, Instrument, simulate_spots
from index.search.query import Effort
from index.search.retriever import Retriever
from index.storage.catalog import Entry
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, compute_kinematic_spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads

LEVELS = (1, 3, 10)
TEMPLATE_Q_MAX = 1.6
UPRIGHT = ((0.0, 0.0),)
TILTED = (*UPRIGHT, *((3.0, 60.0 * step) for step in range(6)))
IMAGE_PIXELS, IMAGE_Q_MAX = 256, 1.65
SPOT_PIXELS = 1.2
Array = NDArray[np.float64]


def main() -> None:
    options = _parse_options()
    limit_threads(1)
    rng = np.random.default_rng(options.seed)
    with open_catalog(options.index) as catalog:
        everything = list(catalog)
        groups = catalog.groups
        truths = select_part(everything, source_prefix=SOURCE)
    instrument = replace(Instrument(), intensity_noise=(options.noise, options.noise))
    queries: list[tuple[Entry, Spots]] = []
    for _ in range(options.queries):
        truth = truths[int(rng.integers(len(truths)))]
        queries.append(
            (truth, simulate_spots(truth.crystal, instrument, np.random.default_rng(rng.integers(2**32))))
        )
    rows = [_measure_search(options.index, queries, effort) for effort in ("search", "verify", "full")]
    group_of = {entry.id: int(groups[row]) for row, entry in enumerate(everything)}
    tilts = TILTED if options.tilted else UPRIGHT
    matches = _match_templates(options.pyxem, everything, tilts, [spots for _, spots in queries])
    for name, (best, milliseconds) in matches.items():
        ranks: list[int | None] = []
        for (truth, _), own in zip(queries, best, strict=True):
            different = list(dict.fromkeys(int(groups[row // len(tilts)]) for row in own))
            mine = group_of[truth.id]
            ranks.append(different.index(mine) if mine in different else None)
        rows.append(_build_row(f"pyxem, {name}", ranks, milliseconds))
    print(f"noise of ln I {options.noise}, {len(everything)} crystals, {options.queries} queries")
    print("| method | top-1 | top-3 | top-10 | ms per query |")
    print("|---|---|---|---|---|")
    for row in rows:
        shares = " | ".join(f"{100 * float(str(row[f'top{k}'])):.1f}" for k in LEVELS)
        print(f"| {row['method']} | {shares} | {row['ms']} |")
    print(json.dumps({"rows": rows, "noise": options.noise, "seed": options.seed}))


def _measure_search(index: Path, queries: list[tuple[Entry, Spots]], effort: Effort) -> dict[str, object]:
    ranks: list[int | None] = []
    seconds: list[float] = []
    with Retriever.open(index, load_towers()) as retriever:
        for truth, spots in tqdm(queries, desc=effort):
            begun = perf_counter()
            candidates = retriever.search(
                spots, voltage_kv=VOLTAGE_KV, top_k=max(LEVELS), effort=effort
            ).candidates
            seconds.append(perf_counter() - begun)
            ranks.append(find_rank(candidates, truth.id))
    return _build_row(effort, ranks, 1e3 * float(np.median(seconds)))


def _build_row(method: str, ranks: list[int | None], milliseconds: float) -> dict[str, object]:
    return {"method": method, **compute_top_shares(ranks, LEVELS), "ms": round(milliseconds, 1)}


def _match_templates(
    python: Path, crystals: list[Entry], tilts: Sequence[tuple[float, float]], patterns: list[Spots]
) -> dict[str, tuple[list[list[int]], float]]:
    """Return, for each setting of pyxem, the best templates of each pattern and the milliseconds per pattern."""
    templates = [
        compute_kinematic_spots(
            entry.crystal,
            Geometry(
                voltage_kv=VOLTAGE_KV,
                q_max_inv_angstrom=TEMPLATE_Q_MAX,
                tilt_deg=tilt,
                tilt_azimuth_deg=azimuth,
            ),
            relative_threshold=1e-3,
        )
        for entry in tqdm(crystals, desc="templates")
        for tilt, azimuth in tilts
    ]
    scale = IMAGE_PIXELS / 2 / IMAGE_Q_MAX
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder) / "given.npz", Path(folder) / "answered.json"
        np.savez(
            given,
            images=np.stack([_render_spots(spots, scale) for spots in patterns]),
            positions=np.concatenate([spots.q_inv_angstrom * scale for spots in templates]),
            intensities=np.concatenate([spots.intensity for spots in templates]),
            counts=np.array([len(spots) for spots in templates]),
        )
        script = Path(__file__).with_name("pyxem_templates.py")
        subprocess.run([python, script, given, answered], check=True)
        answers = json.loads(answered.read_text())
    return {name: (each["best"], each["ms"]) for name, each in answers.items()}


def _render_spots(spots: Spots, pixels_per_inv_angstrom: float) -> Array:
    """Return a (P, P) image of the spots as Gaussians, without the direct beam."""
    assert spots.intensity is not None
    y, x = np.mgrid[:IMAGE_PIXELS, :IMAGE_PIXELS] - IMAGE_PIXELS / 2
    image = np.zeros((IMAGE_PIXELS, IMAGE_PIXELS))
    for (at_x, at_y), intensity in zip(
        spots.q_inv_angstrom * pixels_per_inv_angstrom, spots.intensity, strict=True
    ):
        image += intensity * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * SPOT_PIXELS**2))
    return image


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--pyxem", type=Path, required=True, help="Python interpreter with pyxem")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tilted", action="store_true", help="use templates under seven tilts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
