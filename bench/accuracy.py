"""Prints, as a table and as JSON, how often the crystal of a pattern is found at three levels of noise, and by what.

    python -m bench.accuracy INDEX [--queries 200] [--seed 0] [--full] [--noise 0.15 0.3 0.5] [--displacement 0.02]
        [--scale-sigma 0.013] [--told SIGMA] [--limit FILE] [--figure FILE]

Queries are multislice patterns (`bench/queries.py`) of held-out crystals of 2DMatPedia under tilts up to 4 degrees,
each seen through the same instrument with intensities off by 15, 30 and 50 %, asked blind and with the elements known,
against the whole index. What each part is worth: the pattern's lattice alone (crystals in the order of how well their
lattice fits), the towers alone, and the search with verification; with `--full` also that of hundreds of candidates.
`bench/limit.py` prints what an oracle can do with the same queries, `--displacement` alike; `--limit` takes its output
in, for the picture. `--scale-sigma` is how far camera and library are off together, `--told` what the request says of
the camera's part; what the library's is, the index was told when it was built.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from tqdm import tqdm

from bench.queries import VOLTAGE_KV, Instrument, pattern_of
from index.chemistry.elements import ElementFilter
from index.search.query import Effort
from index.search.retriever import Retriever
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CATALOG_NAME
from index.storage.versions import find_version_folder
from model.indexing.lattice_table import LatticeTable
from model.indexing.orientations import SCALE_TOLERANCE
from model.indexing.pattern_lattice import index_pattern
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads
from model.training.split import SplitPart, assign_part, read_split_settings

NOISE = (0.15, 0.30, 0.50)
LEVELS = (1, 3, 10, 100)
SOURCE = "2dmatpedia"
Asked = tuple[float, str, str]


class Lattices:
    """The crystals of an index in the order of how well their lattice fits."""

    def __init__(self, catalog: Catalog) -> None:
        self._table = LatticeTable.from_cells(catalog.read_lattices())
        self._groups = catalog.groups
        self._elements = [frozenset(entry.elements) for entry in catalog]
        self._row = {entry.id: row for row, entry in enumerate(catalog)}

    def place(self, spots: Spots, truth: Entry, elements: frozenset[str] | None) -> int | None:
        """Of the true one, from 0; None where its lattice does not fit, or the pattern shows none."""
        lattice = index_pattern(Observation.from_spots(spots, VOLTAGE_KV))
        if lattice is None:
            return None
        fitting = self._table.find_matches(lattice.basis, SCALE_TOLERANCE)
        order = np.argsort(np.abs(np.log(fitting.scale)), kind="stable")
        rows = [
            row
            for row in fitting.crystal[order].tolist()
            if elements is None or self._elements[row] == elements
        ]
        groups = list(dict.fromkeys(self._groups[row] for row in rows))
        own = self._groups[self._row[truth.id]]
        return groups.index(own) if own in groups else None


def held_out_entries(catalog: Iterable[Entry], part: SplitPart = SplitPart.TEST) -> list[Entry]:
    """The crystals of the source that are in a part of the split."""
    seed, held_out = read_split_settings(load_towers().training)
    return [
        entry
        for entry in catalog
        if entry.source.startswith(SOURCE) and assign_part(entry.formula, seed, held_out) is part
    ]


def main() -> None:
    options = _options()
    limit_threads(1)
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    with closing(Catalog.open(find_version_folder(options.index) / CATALOG_NAME)) as catalog:
        lattices = Lattices(catalog)
        entries = held_out_entries(catalog)
    places: dict[Asked, list[int | None]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    efforts: tuple[Effort, ...] = ("search", "verify", "full") if options.full else ("search", "verify")
    with Retriever.open(options.index, towers) as retriever:
        for _ in tqdm(range(options.queries), unit="query"):
            truth = entries[int(rng.integers(len(entries)))]
            draw = int(rng.integers(2**32))
            for noise in options.noise:
                # The same flake and camera each time: only how far the intensities are off differs.
                instrument = replace(seen_with(noise, options.displacement), scale_sigma=options.scale_sigma)
                spots = pattern_of(truth.crystal, instrument, np.random.default_rng(draw))
                if options.told is not None:
                    spots = replace(spots, scale_sigma=options.told)
                for known in (False, True):
                    asked = "elements known" if known else "blind"
                    elements = frozenset(truth.elements) if known else None
                    begun = perf_counter()
                    places[noise, asked, "lattice"].append(lattices.place(spots, truth, elements))
                    seconds["lattice"].append(perf_counter() - begun)
                    for effort in efforts:
                        begun = perf_counter()
                        candidates = retriever.search(
                            spots,
                            voltage_kv=VOLTAGE_KV,
                            elements=ElementFilter(all=truth.elements, only=truth.elements)
                            if known
                            else None,
                            top_k=max(LEVELS),
                            effort=effort,
                        ).candidates
                        seconds[effort].append(perf_counter() - begun)
                        found = [
                            place
                            for place, candidate in enumerate(candidates)
                            if truth.id in (candidate.entry.id, *candidate.same_as)
                        ]
                        places[noise, asked, effort].append(found[0] if found else None)
    rows = [
        {"noise": noise, "asked": asked, "by": by, "n": len(found)}
        | {f"top{k}": round(float(np.mean([p is not None and p < k for p in found])), 4) for k in LEVELS}
        for (noise, asked, by), found in places.items()
    ]
    print_rows(rows)
    times = {by: round(1000 * float(np.median(own)), 1) for by, own in seconds.items()}
    print(json.dumps({"rows": rows, "milliseconds": times, "seed": options.seed}))
    if options.figure:
        limit = json.loads(options.limit.read_text().splitlines()[-1])["rows"] if options.limit else []
        options.figure.write_text(_figure([*limit, *rows]), encoding="utf-8")


def seen_with(noise: float, displacement_angstrom: float) -> Instrument:
    """What is done to patterns at one level of noise."""
    return replace(Instrument(), intensity_noise=(noise, noise), displacement_angstrom=displacement_angstrom)


def add_displacement(parser: argparse.ArgumentParser) -> None:
    """The option that says how far the flakes' atoms lie beside those of the library."""
    parser.add_argument(
        "--displacement",
        type=float,
        default=Instrument().displacement_angstrom,
        help="rms by which the flakes' atoms lie beside those of the library, angstrom",
    )


def print_rows(rows: list[dict[str, object]]) -> None:
    """As a table, blind first."""
    print("| noise of ln I | asked | by | top-1 | top-3 | top-10 | top-100 |")
    print("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (str(row["asked"]), str(row["noise"]))):
        shares = " | ".join(f"{100 * float(str(row[f'top{k}'])):.1f}" for k in LEVELS)
        print(f"| {row['noise']} | {row['asked']} | {row['by']} | {shares} |")


def _figure(rows: list[dict[str, object]]) -> str:
    """Top-1 against the noise, a line for each part, blind and with elements known, as SVG."""
    import io

    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "dd2d", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for axis, asked in zip(axes, ("blind", "elements known"), strict=True):
        for by in dict.fromkeys(str(row["by"]) for row in rows):
            own = [row for row in rows if row["by"] == by and row["asked"] == asked]
            x = [float(str(row["noise"])) for row in own]
            axis.plot(x, [float(str(row["top1"])) for row in own], marker="o", label=by)
        axis.set_title(asked)
        axis.set_xlabel("rms noise of ln I")
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("true crystal first")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 0.06))
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE, help="rms errors of ln I")
    add_displacement(parser)
    parser.add_argument(
        "--scale-sigma",
        type=float,
        default=Instrument().scale_sigma,
        help="rms error of the scale, camera's and library's together",
    )
    parser.add_argument("--told", type=float, help="`scale_sigma` of the request (default: none)")
    parser.add_argument(
        "--full", action="store_true", help="effort=full too, which takes half a second a query"
    )
    parser.add_argument("--limit", type=Path, help="what bench/limit.py printed")
    parser.add_argument("--figure", type=Path, help="where the picture goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
