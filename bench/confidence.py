"""Measure the reliability of probabilities, verdicts and confidence sets; `--fit` fits their calibration. Print JSON.

    python -m bench.confidence INDEX [--queries 1000] [--effort verify] [--seed 0] [--fit] [--figure FILE]

The queries are simulated (`bench/queries.py`): patterns of crystals in the index (60 %), patterns of crystals that are
removed from the index for their query (19 %), and random spots, broken rings and zones of bulk crystals that fit no
cell of the index (7 % each). The crystals are those of the test part; with `--fit` those of the validation part, and
the constants of `model/matching/confidence.py` are printed. First a formula is drawn, then one of its crystals, because
the split is by formula. The coverage of the confidence sets has a standard error that accounts for the correlation of
queries with the same formula. `sets_of_drawn` excludes formulas that are in the test part by name, because the
validation part has none of their kind. Verdicts on random spots, rings and zones are those of the whole search, which
also tries other scales. `--figure` writes the reliability diagram as SVG.
"""

import argparse
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from tqdm import tqdm

from bench.library import build_parser, is_candidate_of, open_catalog, select_part
from bench.queries import (
    VOLTAGE_KV,
    Instrument,
    simulate_broken_rings,
    simulate_bulk_zone,
    simulate_random_spots,
    simulate_spots,
)
from index.search.retriever import Retriever
from index.storage.catalog import Catalog
from index.storage.layout import VECTORS_NAME
from index.storage.vectors import Vectors
from index.storage.versions import find_version_folder
from model.crystal.crystal import Crystal
from model.indexing.lattice_table import LatticeTable
from model.indexing.orientations import SCALE_TOLERANCE
from model.matching.confidence import (
    CALIBRATIONS,
    COVERAGES,
    Confidence,
    ConfidenceCalibration,
    compute_evidence,
    estimate_confidence,
)
from model.matching.depth import VerificationEffort
from model.matching.match import Match
from model.matching.verify import verify
from model.pattern.spots import Spots
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads
from model.training.split import SplitPart, read_split_settings

Array = NDArray[np.float64]
KINDS = {"known": 0.60, "removed": 0.19, "random spots": 0.07, "broken rings": 0.07, "bulk zones": 0.07}
BINS = 10
# Largest share of true crystals with the verdict no match.
MAX_LOST = 0.01
# Upper limits of the classes of queries by their number of similar candidates; one more class is beyond the last.
SIMILAR_LIMITS = (3, 20)


@dataclass(frozen=True)
class QueryResult:
    """Result of one query.

    Attributes:
        kind: one of `KINDS`.
        formula: formula of the drawn crystal.
        spots: number of spots.
        matches: matches of the candidates.
        values: scores of the candidates.
        similar_count: number of candidates selected by their similarity.
        truth: index of the true crystal among the candidates, or None.
        place: rank of the true crystal, from 0; None if it is not in the index.
        verdict: verdict of the whole search on patterns that show no layer, else None.
    """

    kind: str
    formula: str
    spots: int
    matches: list[Match | None]
    values: Array
    similar_count: int
    truth: int | None
    place: int | None
    verdict: str | None


class Gallery:
    """All crystals of the index by the vectors of the towers, without reading any crystal."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        vectors = Vectors.open(folder / VECTORS_NAME)
        self._vectors = vectors.read_rows(np.arange(len(vectors)))
        self._groups = catalog.groups
        self._row = {entry.id: row for row, entry in enumerate(catalog)}

    def find_rank(self, vector: NDArray[np.float32], crystal: Crystal) -> int:
        """Return the rank of a crystal, from 0: the number of different crystals that are nearer."""
        similarity = self._vectors @ vector
        best = np.full(int(self._groups.max()) + 1, -2.0)
        np.maximum.at(best, self._groups, similarity)
        return int((best > best[self._groups[self._row[crystal.id]]]).sum())


def main() -> None:
    options = _parse_options()
    limit_threads(1)
    answers, total = _run_queries(options)
    calibration = _fit_calibration(answers) if options.fit else CALIBRATIONS[options.effort]
    if options.fit:
        print(json.dumps(asdict(calibration)))
    _, by_name = read_split_settings(load_towers().training)
    report = _build_report(answers, calibration, total, by_name) | {
        "effort": options.effort,
        "seed": options.seed,
    }
    print(json.dumps(report))
    if options.figure:
        options.figure.write_text(_draw_diagram(report), encoding="utf-8")


def _run_queries(options: argparse.Namespace) -> tuple[list[QueryResult], int]:
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    part = SplitPart.VALIDATION if options.fit else SplitPart.TEST
    with Retriever.open(options.index, towers) as retriever:
        with open_catalog(options.index) as catalog:
            crystals = [entry.crystal for entry in select_part(catalog, part)]
            cells = LatticeTable.from_cells(catalog.read_lattices(), max_index=1)
            gallery = Gallery(find_version_folder(options.index), catalog)
        by_formula: dict[str, list[Crystal]] = {}
        for crystal in crystals:
            by_formula.setdefault(crystal.formula, []).append(crystal)
        drawn_from = [by_formula[formula] for formula in sorted(by_formula)]
        results = [
            _run_query(
                retriever, gallery, cells, drawn_from, options.effort, rng, whole_search=not options.fit
            )
            for _ in tqdm(range(options.queries), unit="query")
        ]
        return results, len(retriever)


def _draw_zone(cells: LatticeTable, rng: np.random.Generator) -> Spots:
    """Draw a bulk zone that fits none of the cells."""
    while True:
        spots: Spots
        spots, basis = simulate_bulk_zone(rng)
        if not len(cells.find_matches(basis, SCALE_TOLERANCE).crystal):
            return spots


def _run_query(
    retriever: Retriever,
    gallery: Gallery,
    cells: LatticeTable,
    by_formula: list[list[Crystal]],
    effort: VerificationEffort,
    rng: np.random.Generator,
    *,
    whole_search: bool,
) -> QueryResult:
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    own = by_formula[int(rng.integers(len(by_formula)))]
    crystal = own[int(rng.integers(len(own)))]
    if kind == "random spots":
        spots = simulate_random_spots(rng)
    elif kind == "broken rings":
        spots = simulate_broken_rings(rng)
    elif kind == "bulk zones":
        spots = _draw_zone(cells, rng)
    else:
        spots = simulate_spots(crystal, Instrument(), rng)
    candidates = retriever.find_candidates(spots, voltage_kv=VOLTAGE_KV, effort=effort)
    if kind == "removed":
        candidates = tuple(
            candidate for candidate in candidates if not is_candidate_of(candidate, crystal.id)
        )
    similarity = [candidate.similarity for candidate in candidates]
    found = verify(
        [candidate.entry.crystal for candidate in candidates], similarity, spots, VOLTAGE_KV, effort
    )
    true = [
        row
        for row, candidate in enumerate(candidates)
        if kind == "known" and is_candidate_of(candidate, crystal.id)
    ]
    place = verdict = None
    if true:
        place = found.ranking.tolist().index(true[0])
    elif kind == "known":
        place = gallery.find_rank(retriever.embed([spots], [VOLTAGE_KV])[0], crystal)
    elif kind != "removed" and whole_search:
        verdict = retriever.search(spots, voltage_kv=VOLTAGE_KV, effort=effort).verdict
    return QueryResult(
        kind=kind,
        formula=crystal.formula,
        spots=len(spots),
        matches=list(found.matches),
        values=found.scores,
        similar_count=found.similar_count,
        truth=true[0] if true else None,
        place=place,
        verdict=verdict,
    )


def _fit_calibration(answers: list[QueryResult]) -> ConfidenceCalibration:
    """Fit the calibration by maximum likelihood; its limit loses MAX_LOST of the known crystals."""
    kept = [each for each in answers if np.isfinite(each.values).any()]
    evidence = np.array(
        [compute_evidence(_find_best_match(each), each.spots, each.similar_count) for each in kept]
    )
    count = evidence.shape[1]

    def build_calibration(parameters: Array) -> ConfidenceCalibration:
        temperature, growth, uninformative_logit = parameters[:3]
        return ConfidenceCalibration(
            temperature=float(np.exp(temperature)),
            temperature_exponent=float(growth),
            uninformative_probability=float(1 / (1 + np.exp(-uninformative_logit))),
            evidence_weights=tuple(parameters[3:].tolist()),
            min_total_probability=0.0,
            unrefined_share=_measure_missed(answers),
            preceding_probabilities=tuple(1.0 for _ in COVERAGES),
        )

    def loss(parameters: Array) -> float:
        calibration, odds = build_calibration(parameters), evidence @ parameters[3:]
        total = 0.01 * float(parameters[4:] @ parameters[4:])
        for each, own in zip(kept, odds, strict=True):
            refined = np.flatnonzero(np.isfinite(each.values))
            if each.truth is not None and each.truth in refined:
                share = calibration.compute_shares(calibration.temper(each.values[refined], each.spots))
                total += np.logaddexp(0, -own) - np.log(share[np.searchsorted(refined, each.truth)])
            else:
                total += np.logaddexp(0, own)
        return float(total)

    begin = np.concatenate([[0.7, 0.5, -3.0, 2.0], np.full(count - 1, -1.0)])
    calibration = build_calibration(scipy.optimize.minimize(loss, begin, method="L-BFGS-B").x)
    own = [each for each in answers if each.kind == "known"]
    known = [_estimate(each, calibration).total_probability for each in own]
    masses = [
        _estimate(each, calibration).compute_preceding_probability(each.place or 0, calibration)
        for each in own
    ]
    return replace(
        calibration,
        min_total_probability=float(np.quantile(known, MAX_LOST)),
        preceding_probabilities=tuple(
            float(np.quantile(masses, share, method="higher")) for share in COVERAGES
        ),
    )


def _measure_missed(answers: list[QueryResult]) -> float:
    """Return the share of results without a refined true crystal whose crystal is in the index."""
    outside = [each for each in answers if each.truth is None or not np.isfinite(each.values[each.truth])]
    return float(np.mean([each.kind == "known" for each in outside]))


def _find_best_match(answer: QueryResult) -> Match:
    best = answer.matches[int(np.argmax(answer.values))]
    assert best is not None
    return best


def _estimate(answer: QueryResult, calibration: ConfidenceCalibration) -> Confidence:
    return estimate_confidence(answer.matches, answer.values, answer.spots, answer.similar_count, calibration)


def _build_report(
    answers: list[QueryResult], calibration: ConfidenceCalibration, total: int, by_name: Collection[str]
) -> dict[str, object]:
    stated, right = np.zeros(len(answers)), np.zeros(len(answers))
    verdicts: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for row, each in enumerate(answers):
        found = _estimate(each, calibration)
        verdicts[each.kind].append(each.verdict or found.verdict)
        if np.isfinite(each.values).any():
            stated[row] = np.nanmax(found.probability)
            right[row] = each.truth == int(np.argmax(each.values))
    known = np.array([each.kind == "known" for each in answers])
    removed = np.array([each.kind == "removed" for each in answers])
    bins = np.minimum((stated * BINS).astype(int), BINS - 1)
    rows = [
        {"queries": int(own.sum()), "stated": float(stated[own].mean()), "right": float(right[own].mean())}
        for own in (bins == index for index in range(BINS))
        if own.any()
    ]
    error = sum(row["queries"] * abs(row["stated"] - row["right"]) for row in rows) / len(answers)
    return {
        "queries": len(answers),
        "expected_calibration_error": round(error, 4),
        "first_right_of_known": round(float(right[known].mean()), 4),
        "mean_stated_of_known": round(float(stated[known].mean()), 4),
        "mean_stated_of_removed": round(float(stated[removed].mean()), 4),
        "no_match": {
            kind: round(own.count("no_match") / max(len(own), 1), 4) for kind, own in verdicts.items()
        },
        "match": {kind: round(own.count("match") / max(len(own), 1), 4) for kind, own in verdicts.items()},
        "sets": _measure_sets([each for each in answers if each.kind == "known"], calibration, total),
        "sets_of_drawn": _measure_sets(
            [each for each in answers if each.kind == "known" and each.formula not in by_name],
            calibration,
            total,
        ),
        "by_similar_count": _report_by_similar_count(answers, stated, right, calibration, total),
        "reliability": [{key: round(value, 4) for key, value in row.items()} for row in rows],
    }


def _measure_sets(
    answers: list[QueryResult], calibration: ConfidenceCalibration, total: int
) -> dict[str, dict[str, float]]:
    """Return how often sets of a stated coverage contain the true crystal, and their median size."""
    report = {}
    formula = np.array([each.formula for each in answers])
    for coverage in COVERAGES:
        sizes = np.array(
            [_estimate(each, calibration).compute_set_size(coverage, total, calibration) for each in answers]
        )
        contained = np.array([each.place for each in answers]) < sizes
        report[f"{coverage:g}"] = {
            "holds": round(float(contained.mean()), 4),
            "error": round(_compute_clustered_error(formula, contained), 4),
            "median_size": float(np.median(sizes)),
        }
    return report


def _report_by_similar_count(
    answers: list[QueryResult], stated: Array, right: Array, calibration: ConfidenceCalibration, total: int
) -> dict[str, dict[str, object]]:
    """Return the reliability of probabilities and sets by the number of similar candidates."""
    report: dict[str, dict[str, object]] = {}
    similar_class = np.searchsorted(SIMILAR_LIMITS, [each.similar_count for each in answers])
    for number, name in enumerate((*(f"up to {most}" for most in SIMILAR_LIMITS), "more")):
        own = np.flatnonzero(similar_class == number)
        known = [answers[row] for row in own if answers[row].kind == "known"]
        if known:
            report[name] = {
                "queries": len(own),
                "stated": round(float(stated[own].mean()), 4),
                "right": round(float(right[own].mean()), 4),
                "sets": _measure_sets(known, calibration, total),
            }
    return report


def _compute_clustered_error(cluster: NDArray[np.str_], contained: NDArray[np.bool_]) -> float:
    """Return the standard error of a share whose cases are correlated within clusters."""
    _, of = np.unique(cluster, return_inverse=True)
    off = np.bincount(of, weights=contained - contained.mean())
    return float(np.sqrt((off**2).sum()) / len(contained))


def _draw_diagram(report: dict[str, Any]) -> str:
    """Return the reliability diagram as SVG; the area of a point is proportional to the number of queries."""
    side, margin = 360, 48
    span = side - 2 * margin

    def place(x: float, y: float) -> tuple[float, float]:
        return margin + x * span, side - margin - y * span

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" width="{side}" height="{side}">',
        "<style>svg { background: #fff; font: 12px system-ui, sans-serif } .axis { stroke: #999; fill: none } "
        ".point { fill: #1a5fb4; fill-opacity: 0.7 }</style>",
        "<title>Reliability of the first candidate's probability</title>",
        f'<rect class="axis" x="{margin}" y="{margin}" width="{span}" height="{span}"/>',
        f'<path class="axis" d="M{margin} {side - margin}L{side - margin} {margin}"/>',
    ]
    for row in report["reliability"]:
        x, y = place(row["stated"], row["right"])
        radius = 2 + 18 * np.sqrt(row["queries"] / report["queries"])
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')
    for value in (0.0, 0.5, 1.0):
        x, y = place(value, value)
        parts.append(f'<text x="{x:.0f}" y="{side - margin + 16}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text x="{margin - 8}" y="{y + 4:.0f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="{side / 2}" y="{side - 10}" text-anchor="middle">stated probability</text>')
    parts.append(
        f'<text transform="translate(14 {side / 2}) rotate(-90)" text-anchor="middle">share correct</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--effort", choices=["verify", "full"], default="verify")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="file of the reliability diagram")
    parser.add_argument(
        "--fit", action="store_true", help="fit the constants on validation crystals and print them"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
