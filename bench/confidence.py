"""Prints, as JSON, how true the service's probabilities, verdicts and sets are; with `--fit`, refits what they rest on.

    python -m bench.confidence INDEX [--queries 1000] [--effort verify] [--seed 0] [--fit] [--figure FILE]

Queries are simulated (`bench/queries.py`): of crystals that are in the index (60 %), of crystals that are taken out
of it for their query (19 %), of random spots, broken rings and zones of bulk crystals that fit no cell of the index
(7 % each). The crystals are those of the split's test part; with `--fit` those of the validation part, and the
constants of `model/matching/confidence.py` are printed. A formula is drawn, then one of its crystals: the split is by
formula, so that only formulas drawn alike make both parts alike. Beside the share that a set holds stands its standard
error, by formulas, as queries of one formula are right or wrong together; `sets_of_drawn` leaves out the formulas that
are in the test part by name, not by the draw, as there are none like them in the validation part. Verdicts on what is
no layer are those of the whole search, which tries other scales before it gives up. `--figure` draws the reliability
diagram as SVG.
"""

import argparse
import json
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from tqdm import tqdm

from bench.queries import VOLTAGE_KV, Instrument, broken_rings, bulk_zone, pattern_of, random_spots
from index.search.results import Candidate
from index.search.retriever import Retriever
from index.storage.catalog import Catalog
from index.storage.layout import CATALOG_NAME, VECTORS_NAME
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
from model.training.split import SplitPart, assign_part, read_split_settings

Array = NDArray[np.float64]
KINDS = {"known": 0.60, "removed": 0.19, "random spots": 0.07, "broken rings": 0.07, "bulk zones": 0.07}
BINS = 10
# The share of true crystals for which no match may be told.
LOST = 0.01
# By how many candidates are alike the queries are parted: up to each of these, and more.
CROWDS = (3, 20)


@dataclass(frozen=True)
class Answer:
    """What came of one query.

    Attributes:
        kind: one of `KINDS`.
        formula: of the crystal that was drawn.
        spots: number of them.
        matches: of the candidates.
        values: what they are ranked by.
        similar_count: how many were to be computed by their similarity.
        truth: the true one among the candidates, or None.
        place: of the true one in the ranking, from 0; None if it is not in the index.
        verdict: of the whole search on what is no layer, else None.
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
    """Every crystal of the index in the order that the towers give it, without reading any."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        vectors = Vectors.open(folder / VECTORS_NAME)
        self._vectors = vectors.read_rows(np.arange(len(vectors)))
        self._groups = catalog.groups
        self._row = {entry.id: row for row, entry in enumerate(catalog)}

    def place(self, vector: NDArray[np.float32], crystal: Crystal) -> int:
        """Of a crystal, from 0: how many different ones are nearer."""
        similarity = self._vectors @ vector
        best = np.full(int(self._groups.max()) + 1, -2.0)
        np.maximum.at(best, self._groups, similarity)
        return int((best > best[self._groups[self._row[crystal.id]]]).sum())


def main() -> None:
    options = _options()
    limit_threads(1)
    answers, total = _ask(options)
    calibration = _fitted(answers) if options.fit else CALIBRATIONS[options.effort]
    if options.fit:
        print(json.dumps(asdict(calibration)))
    _, by_name = read_split_settings(load_towers().training)
    report = _report(answers, calibration, total, by_name) | {"effort": options.effort, "seed": options.seed}
    print(json.dumps(report))
    if options.figure:
        options.figure.write_text(_figure(report), encoding="utf-8")


def _ask(options: argparse.Namespace) -> tuple[list[Answer], int]:
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    seed, held_out = read_split_settings(towers.training)
    part = SplitPart.VALIDATION if options.fit else SplitPart.TEST
    with Retriever.open(options.index, towers) as retriever:
        with closing(Catalog.open(find_version_folder(options.index) / CATALOG_NAME)) as catalog:
            crystals = [
                entry.crystal for entry in catalog if assign_part(entry.formula, seed, held_out) is part
            ]
            cells = LatticeTable.from_cells(catalog.read_lattices(), max_index=1)
            gallery = Gallery(find_version_folder(options.index), catalog)
        by_formula: dict[str, list[Crystal]] = {}
        for crystal in crystals:
            by_formula.setdefault(crystal.formula, []).append(crystal)
        drawn_from = [by_formula[formula] for formula in sorted(by_formula)]
        asked = [
            _asked(retriever, gallery, cells, drawn_from, options.effort, rng, whole_search=not options.fit)
            for _ in tqdm(range(options.queries), unit="query")
        ]
        return asked, len(retriever)


def _zone(cells: LatticeTable, rng: np.random.Generator) -> Spots:
    """A bulk zone that fits none of the cells."""
    while True:
        spots: Spots
        spots, basis = bulk_zone(rng)
        if not len(cells.find_matches(basis, SCALE_TOLERANCE).crystal):
            return spots


def _asked(
    retriever: Retriever,
    gallery: Gallery,
    cells: LatticeTable,
    by_formula: list[list[Crystal]],
    effort: VerificationEffort,
    rng: np.random.Generator,
    *,
    whole_search: bool,
) -> Answer:
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    own = by_formula[int(rng.integers(len(by_formula)))]
    crystal = own[int(rng.integers(len(own)))]
    if kind == "random spots":
        spots = random_spots(rng)
    elif kind == "broken rings":
        spots = broken_rings(rng)
    elif kind == "bulk zones":
        spots = _zone(cells, rng)
    else:
        spots = pattern_of(crystal, Instrument(), rng)
    candidates = retriever.find_candidates(spots, voltage_kv=VOLTAGE_KV, effort=effort)
    if kind == "removed":
        candidates = tuple(candidate for candidate in candidates if not _is(candidate, crystal))
    similarity = [candidate.similarity for candidate in candidates]
    found = verify(
        [candidate.entry.crystal for candidate in candidates], similarity, spots, VOLTAGE_KV, effort
    )
    true = [row for row, candidate in enumerate(candidates) if kind == "known" and _is(candidate, crystal)]
    place = verdict = None
    if true:
        place = found.ranking.tolist().index(true[0])
    elif kind == "known":
        place = gallery.place(retriever.embed([spots], [VOLTAGE_KV])[0], crystal)
    elif kind != "removed" and whole_search:
        verdict = retriever.search(spots, voltage_kv=VOLTAGE_KV, effort=effort).verdict
    return Answer(
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


def _is(candidate: Candidate, crystal: Crystal) -> bool:
    return crystal.id in (candidate.entry.id, *candidate.same_as)


def _fitted(answers: list[Answer]) -> ConfidenceCalibration:
    """What makes the answers likeliest; the limit is where LOST of the known are lost."""
    kept = [each for each in answers if np.isfinite(each.values).any()]
    seen = np.array([compute_evidence(_best(each), each.spots, each.similar_count) for each in kept])
    count = seen.shape[1]

    def of(parameters: Array) -> ConfidenceCalibration:
        temperature, growth, astray = parameters[:3]
        return ConfidenceCalibration(
            temperature=float(np.exp(temperature)),
            temperature_exponent=float(growth),
            uninformative_probability=float(1 / (1 + np.exp(-astray))),
            evidence_weights=tuple(parameters[3:].tolist()),
            min_total_probability=0.0,
            unrefined_share=_missed(answers),
            preceding_probabilities=tuple(1.0 for _ in COVERAGES),
        )

    def loss(parameters: Array) -> float:
        calibration, odds = of(parameters), seen @ parameters[3:]
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
    calibration = of(scipy.optimize.minimize(loss, begin, method="L-BFGS-B").x)
    own = [each for each in answers if each.kind == "known"]
    known = [_judged(each, calibration).total_probability for each in own]
    masses = [
        _judged(each, calibration).compute_preceding_probability(each.place or 0, calibration) for each in own
    ]
    return replace(
        calibration,
        min_total_probability=float(np.quantile(known, LOST)),
        preceding_probabilities=tuple(
            float(np.quantile(masses, share, method="higher")) for share in COVERAGES
        ),
    )


def _missed(answers: list[Answer]) -> float:
    """Of the answers whose crystal was not refined, the share whose crystal is in the index."""
    outside = [each for each in answers if each.truth is None or not np.isfinite(each.values[each.truth])]
    return float(np.mean([each.kind == "known" for each in outside]))


def _best(answer: Answer) -> Match:
    best = answer.matches[int(np.argmax(answer.values))]
    assert best is not None
    return best


def _judged(answer: Answer, calibration: ConfidenceCalibration) -> Confidence:
    return estimate_confidence(answer.matches, answer.values, answer.spots, answer.similar_count, calibration)


def _report(
    answers: list[Answer], calibration: ConfidenceCalibration, total: int, by_name: Collection[str]
) -> dict[str, object]:
    stated, right = np.zeros(len(answers)), np.zeros(len(answers))
    verdicts: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for row, each in enumerate(answers):
        found = _judged(each, calibration)
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
        "sets": _sets([each for each in answers if each.kind == "known"], calibration, total),
        "sets_of_drawn": _sets(
            [each for each in answers if each.kind == "known" and each.formula not in by_name],
            calibration,
            total,
        ),
        "by_alike": _by_alike(answers, stated, right, calibration, total),
        "reliability": [{key: round(value, 4) for key, value in row.items()} for row in rows],
    }


def _sets(
    answers: list[Answer], calibration: ConfidenceCalibration, total: int
) -> dict[str, dict[str, float]]:
    """How often sets of a stated coverage hold the true crystal, and how large they are."""
    told = {}
    formula = np.array([each.formula for each in answers])
    for coverage in COVERAGES:
        sizes = np.array(
            [_judged(each, calibration).compute_set_size(coverage, total, calibration) for each in answers]
        )
        held = np.array([each.place for each in answers]) < sizes
        told[f"{coverage:g}"] = {
            "holds": round(float(held.mean()), 4),
            "error": round(_error_by(formula, held), 4),
            "median_size": float(np.median(sizes)),
        }
    return told


def _by_alike(
    answers: list[Answer], stated: Array, right: Array, calibration: ConfidenceCalibration, total: int
) -> dict[str, dict[str, object]]:
    """How true probabilities and sets are where few and where many candidates are alike."""
    told: dict[str, dict[str, object]] = {}
    crowd = np.searchsorted(CROWDS, [each.similar_count for each in answers])
    for number, name in enumerate((*(f"up to {most}" for most in CROWDS), "more")):
        own = np.flatnonzero(crowd == number)
        known = [answers[row] for row in own if answers[row].kind == "known"]
        if known:
            told[name] = {
                "queries": len(own),
                "stated": round(float(stated[own].mean()), 4),
                "right": round(float(right[own].mean()), 4),
                "sets": _sets(known, calibration, total),
            }
    return told


def _error_by(cluster: NDArray[np.str_], held: NDArray[np.bool_]) -> float:
    """Standard error of a share, the cases of one cluster being anything but independent."""
    _, of = np.unique(cluster, return_inverse=True)
    off = np.bincount(of, weights=held - held.mean())
    return float(np.sqrt((off**2).sum()) / len(held))


def _figure(report: dict[str, Any]) -> str:
    """The reliability diagram as SVG: stated against found, the area of a point as the number of queries."""
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
        f'<text transform="translate(14 {side / 2}) rotate(-90)" text-anchor="middle">share that is right</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--effort", choices=["verify", "full"], default="verify")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="where the reliability diagram goes")
    parser.add_argument("--fit", action="store_true", help="on validation crystals; prints the constants")
    return parser.parse_args()


if __name__ == "__main__":
    main()
