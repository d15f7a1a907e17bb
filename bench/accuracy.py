"""Measure how often the crystal of a simulated pattern is found at three noise levels; print a table and JSON.

    python -m bench.accuracy INDEX [--queries 200] [--seed 0] [--full] [--noise 0.15 0.3 0.5] [--displacement 0.02]
        [--scale-sigma 0.013] [--stated-scale-sigma SIGMA] [--limit FILE] [--figure FILE]

The queries are multislice patterns (`bench/queries.py`) of held-out crystals of 2DMatPedia under tilts up to 4 degrees,
recorded by the same instrument with intensity errors of 15, 30 and 50 %. Each is searched in the whole index without
chemistry and with known elements. The methods are: the pattern's lattice alone (crystals ranked by the deviation of
their lattice), the towers alone, and the search with verification; with `--full` also the verification of hundreds of
candidates. `bench/limit.py` prints the accuracy of an oracle for the same queries (give it the same `--displacement`);
`--limit` reads its output for the figure. `--scale-sigma` is the combined error of camera and library,
`--stated-scale-sigma` the camera's part as stated in the request. The library's part is stored in the index.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from tqdm import tqdm

from bench.library import SOURCE, build_parser, compute_top_shares, find_rank, open_catalog, select_part
from bench.queries import VOLTAGE_KV, Instrument, simulate_spots
from index.chemistry.elements import ElementFilter
from index.search.query import Effort
from index.search.retriever import Retriever
from index.storage.catalog import Catalog, Entry
from model.indexing.lattice_table import LatticeTable
from model.indexing.orientations import SCALE_TOLERANCE
from model.indexing.pattern_lattice import index_pattern
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads

NOISE = (0.15, 0.30, 0.50)
LEVELS = (1, 3, 10, 100)
CHEMISTRY = ("no chemistry", "elements known")
Case = tuple[float, str, str]


class LatticeSearch:
    """Ranks the crystals of an index by the deviation of their lattice from that of a pattern."""

    def __init__(self, catalog: Catalog) -> None:
        self._table = LatticeTable.from_cells(catalog.read_lattices())
        self._groups = catalog.groups
        self._elements = [frozenset(entry.elements) for entry in catalog]
        self._row = {entry.id: row for row, entry in enumerate(catalog)}

    def find_rank(self, spots: Spots, truth: Entry, elements: frozenset[str] | None) -> int | None:
        """Return the rank of the true crystal, from 0; None if its lattice does not fit or no lattice is found."""
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
        true_group = self._groups[self._row[truth.id]]
        return groups.index(true_group) if true_group in groups else None


class Measurement:
    """Ranks and times of all searches, by case and by method."""

    def __init__(
        self, retriever: Retriever, lattice_search: LatticeSearch, efforts: Sequence[Effort]
    ) -> None:
        self._retriever, self._lattice_search, self._efforts = retriever, lattice_search, efforts
        self.ranks: dict[Case, list[int | None]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def search(self, spots: Spots, truth: Entry, noise: float, chemistry: str) -> None:
        """Search a pattern by every method and record rank and time."""
        known = chemistry == "elements known"
        started = perf_counter()
        rank = self._lattice_search.find_rank(spots, truth, frozenset(truth.elements) if known else None)
        self._record((noise, chemistry, "lattice"), rank, started)
        for effort in self._efforts:
            started = perf_counter()
            candidates = self._retriever.search(
                spots,
                voltage_kv=VOLTAGE_KV,
                elements=ElementFilter(all=truth.elements, only=truth.elements) if known else None,
                top_k=max(LEVELS),
                effort=effort,
            ).candidates
            self._record((noise, chemistry, effort), find_rank(candidates, truth.id), started)

    def _record(self, case: Case, rank: int | None, started: float) -> None:
        self.seconds[case[2]].append(perf_counter() - started)
        self.ranks[case].append(rank)


def main() -> None:
    options = _parse_options()
    limit_threads(1)
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    with open_catalog(options.index) as catalog:
        lattice_search = LatticeSearch(catalog)
        entries = select_part(catalog, source_prefix=SOURCE)
    efforts: tuple[Effort, ...] = ("search", "verify", "full") if options.full else ("search", "verify")
    with Retriever.open(options.index, towers) as retriever:
        measurement = Measurement(retriever, lattice_search, efforts)
        for _ in tqdm(range(options.queries), unit="query"):
            truth = entries[int(rng.integers(len(entries)))]
            pattern_seed = int(rng.integers(2**32))
            for noise in options.noise:
                # Flake and camera are the same for all noise levels; only the intensity errors differ.
                instrument = replace(
                    build_instrument(noise, options.displacement), scale_sigma=options.scale_sigma
                )
                spots = simulate_spots(truth.crystal, instrument, np.random.default_rng(pattern_seed))
                if options.stated_scale_sigma is not None:
                    spots = replace(spots, scale_sigma=options.stated_scale_sigma)
                for chemistry in CHEMISTRY:
                    measurement.search(spots, truth, noise, chemistry)
    rows: list[dict[str, object]] = [
        {"noise": noise, "chemistry": chemistry, "method": method, "n": len(ranks)}
        | compute_top_shares(ranks, LEVELS)
        for (noise, chemistry, method), ranks in measurement.ranks.items()
    ]
    print_rows(rows)
    times = {method: round(1000 * float(np.median(own)), 1) for method, own in measurement.seconds.items()}
    print(json.dumps({"rows": rows, "milliseconds": times, "seed": options.seed}))
    if options.figure:
        limit = json.loads(options.limit.read_text().splitlines()[-1])["rows"] if options.limit else []
        options.figure.write_text(_draw_figure([*limit, *rows]), encoding="utf-8")


def build_instrument(noise: float, displacement_angstrom: float) -> Instrument:
    """Return the instrument at one noise level."""
    return replace(Instrument(), intensity_noise=(noise, noise), displacement_angstrom=displacement_angstrom)


def add_displacement_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the displacements of the atoms."""
    parser.add_argument(
        "--displacement",
        type=float,
        default=Instrument().displacement_angstrom,
        help="rms displacement of the atoms from their positions in the library, angstrom",
    )


def print_rows(rows: list[dict[str, object]]) -> None:
    """Print rows as a Markdown table, those with no chemistry first."""
    print("| noise of ln I | chemistry | method | top-1 | top-3 | top-10 | top-100 |")
    print("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["chemistry"] != "no chemistry", str(row["noise"]))):
        shares = " | ".join(f"{100 * float(str(row[f'top{k}'])):.1f}" for k in LEVELS)
        print(f"| {row['noise']} | {row['chemistry']} | {row['method']} | {shares} |")


def _draw_figure(rows: list[dict[str, object]]) -> str:
    """Return an SVG of top-1 against the noise, with a line for each method and a panel for each case of chemistry."""
    import io

    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "dd2d", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for axis, chemistry in zip(axes, CHEMISTRY, strict=True):
        for method in dict.fromkeys(str(row["method"]) for row in rows):
            own = [row for row in rows if row["method"] == method and row["chemistry"] == chemistry]
            x = [float(str(row["noise"])) for row in own]
            axis.plot(x, [float(str(row["top1"])) for row in own], marker="o", label=method)
        axis.set_title(chemistry)
        axis.set_xlabel("rms noise of ln I")
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("true crystal first")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 0.06))
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE, help="rms errors of ln I")
    add_displacement_option(parser)
    parser.add_argument(
        "--scale-sigma",
        type=float,
        default=Instrument().scale_sigma,
        help="rms error of the scale, of camera and library combined",
    )
    parser.add_argument(
        "--stated-scale-sigma", type=float, help="`scale_sigma` of the request (default: none)"
    )
    parser.add_argument(
        "--full", action="store_true", help="include effort=full, which takes half a second for each query"
    )
    parser.add_argument("--limit", type=Path, help="output of bench.limit")
    parser.add_argument("--figure", type=Path, help="file of the figure")
    return parser.parse_args()


if __name__ == "__main__":
    main()
