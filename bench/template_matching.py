"""Prints, as a table and as JSON, how the search compares with pyxem's template matching over the same crystals.

    python -m venv ENV && ENV/bin/pip install pyxem
    python -m bench.template_matching INDEX --pyxem ENV/bin/python [--queries 100] [--noise 0.15] [--seed 0] [--tilted]

Queries are those of `bench/accuracy.py`, blind. pyxem correlates an image of the spots with a template of every
crystal of the index (`bench/pyxem_templates.py`: kinematic, both mirrored and not, all rotations), with every template
and at its fastest setting, which keeps a few by their radial profile first. The templates are untilted; with
`--tilted` each crystal has seven (no tilt, and 3 degrees in six directions), which flakes that are tilted need.
pyxem's dependencies disagree with this project's, hence the environment of its own; it gets both cores, the search one.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.accuracy import held_out_entries
from bench.queries import VOLTAGE_KV, Instrument, pattern_of
from index.search.query import Effort
from index.search.retriever import Retriever
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CATALOG_NAME
from index.storage.versions import find_version_folder
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
    options = _options()
    limit_threads(1)
    rng = np.random.default_rng(options.seed)
    with closing(Catalog.open(find_version_folder(options.index) / CATALOG_NAME)) as catalog:
        everything = list(catalog)
        groups = catalog.groups
        truths = held_out_entries(everything)
    instrument = replace(Instrument(), intensity_noise=(options.noise, options.noise))
    asked: list[tuple[Entry, Spots]] = []
    for _ in range(options.queries):
        truth = truths[int(rng.integers(len(truths)))]
        asked.append(
            (truth, pattern_of(truth.crystal, instrument, np.random.default_rng(rng.integers(2**32))))
        )
    rows = [_search(options.index, asked, effort) for effort in ("search", "verify", "full")]
    group_of = {entry.id: int(groups[row]) for row, entry in enumerate(everything)}
    tilts = TILTED if options.tilted else UPRIGHT
    found = _template_matching(options.pyxem, everything, tilts, [spots for _, spots in asked])
    for name, (best, milliseconds) in found.items():
        places = []
        for (truth, _), own in zip(asked, best, strict=True):
            different = list(dict.fromkeys(int(groups[row // len(tilts)]) for row in own))
            mine = group_of[truth.id]
            places.append(different.index(mine) if mine in different else None)
        rows.append(_row(f"pyxem, {name}", places, milliseconds))
    print(f"noise of ln I {options.noise}, {len(everything)} crystals, {options.queries} queries")
    print("| by | top-1 | top-3 | top-10 | ms a query |")
    print("|---|---|---|---|---|")
    for row in rows:
        shares = " | ".join(f"{100 * float(str(row[f'top{k}'])):.1f}" for k in LEVELS)
        print(f"| {row['by']} | {shares} | {row['ms']} |")
    print(json.dumps({"rows": rows, "noise": options.noise, "seed": options.seed}))


def _search(index: Path, asked: list[tuple[Entry, Spots]], effort: Effort) -> dict[str, object]:
    places: list[int | None] = []
    seconds: list[float] = []
    with Retriever.open(index, load_towers()) as retriever:
        for truth, spots in tqdm(asked, desc=effort):
            begun = perf_counter()
            candidates = retriever.search(
                spots, voltage_kv=VOLTAGE_KV, top_k=max(LEVELS), effort=effort
            ).candidates
            seconds.append(perf_counter() - begun)
            own = [
                place
                for place, candidate in enumerate(candidates)
                if truth.id in (candidate.entry.id, *candidate.same_as)
            ]
            places.append(own[0] if own else None)
    return _row(effort, places, 1e3 * float(np.median(seconds)))


def _row(by: str, places: list[int | None], milliseconds: float) -> dict[str, object]:
    shares = {f"top{k}": float(np.mean([p is not None and p < k for p in places])) for k in LEVELS}
    return {"by": by, **shares, "ms": round(milliseconds, 1)}


def _template_matching(
    python: Path, crystals: list[Entry], tilts: Sequence[tuple[float, float]], patterns: list[Spots]
) -> dict[str, tuple[list[list[int]], float]]:
    """Of each setting of pyxem: the best templates of each pattern, one a crystal and tilt; milliseconds a pattern."""
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
            images=np.stack([_image(spots, scale) for spots in patterns]),
            positions=np.concatenate([spots.q_inv_angstrom * scale for spots in templates]),
            intensities=np.concatenate([spots.intensity for spots in templates]),
            counts=np.array([len(spots) for spots in templates]),
        )
        script = Path(__file__).with_name("pyxem_templates.py")
        subprocess.run([python, script, given, answered], check=True)
        answers = json.loads(answered.read_text())
    return {name: (each["best"], each["ms"]) for name, each in answers.items()}


def _image(spots: Spots, pixels_per_inv_angstrom: float) -> Array:
    """(P, P) the spots as Gaussians, the direct beam in the middle left out."""
    assert spots.intensity is not None
    y, x = np.mgrid[:IMAGE_PIXELS, :IMAGE_PIXELS] - IMAGE_PIXELS / 2
    image = np.zeros((IMAGE_PIXELS, IMAGE_PIXELS))
    for (at_x, at_y), intensity in zip(
        spots.q_inv_angstrom * pixels_per_inv_angstrom, spots.intensity, strict=True
    ):
        image += intensity * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * SPOT_PIXELS**2))
    return image


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--pyxem", type=Path, required=True, help="a Python that has pyxem")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tilted", action="store_true", help="pyxem's templates under seven tilts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
