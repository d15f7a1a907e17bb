"""Prints, as JSON, how true the service's probabilities and verdicts are; with `--fit`, refits what they rest on.

    python bench/confidence.py INDEX [--queries 1000] [--effort verify] [--seed 0] [--fit]

Queries are simulated (`bench/queries.py`): of crystals that are in the index (62 %), of crystals that are taken out of
it for their query (20 %), of random spots and of broken rings (9 % each). The crystals are those of the split's test
part; with `--fit` those of the validation part, and the constants of `model/matching/confidence.py` are printed.
"""

import argparse
import json
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from queries import VOLTAGE_KV, Instrument, broken_rings, pattern_of, random_spots  # type: ignore[import-not-found]
from tqdm import tqdm

from index.build import CATALOGUE_NAME
from index.catalogue import Catalogue
from index.publishing import version_folder
from index.retrieve import Hit, Retriever
from model.crystal import Crystal
from model.matching.confidence import CALIBRATIONS, Calibration, confidence, evidence
from model.matching.depth import Effort, depth_of
from model.matching.match import Match
from model.matching.verification import verify
from model.towers import load_towers
from model.training.cli import split_of
from model.training.split import Part, part_of

Array = NDArray[np.float64]
KINDS = {"known": 0.62, "removed": 0.20, "random spots": 0.09, "broken rings": 0.09}
BINS = 10


@dataclass(frozen=True)
class Answer:
    """What came of one query: its kind, spots, matches, the values they are ranked by, and the true one's place."""

    kind: str
    spots: int
    matches: list[Match | None]
    values: Array
    truth: int | None


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    answers = _ask(options)
    if options.fit:
        calibration = _fitted(answers)
        print(json.dumps(asdict(calibration)))
    else:
        calibration = CALIBRATIONS[options.effort]
    print(json.dumps(_report(answers, calibration) | {"effort": options.effort, "seed": options.seed}))


def _ask(options: argparse.Namespace) -> list[Answer]:
    towers, rng = load_towers(), np.random.default_rng(options.seed)
    seed, held_out = split_of(towers.training)
    part = Part.VALIDATION if options.fit else Part.TEST
    with Retriever.open(options.index, towers) as retriever:
        with closing(Catalogue.open(version_folder(options.index) / CATALOGUE_NAME)) as catalogue:
            crystals = [
                entry.crystal for entry in catalogue if part_of(entry.formula, seed, held_out) is part
            ]
        sources = sorted({crystal.source for crystal in crystals})
        by_source = [[crystal for crystal in crystals if crystal.source == name] for name in sources]
        return [
            _asked(retriever, by_source, options.effort, rng)
            for _ in tqdm(range(options.queries), unit="query")
        ]


def _asked(
    retriever: Retriever, by_source: list[list[Crystal]], effort: Effort, rng: np.random.Generator
) -> Answer:
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    own = by_source[int(rng.integers(len(by_source)))]
    crystal = own[int(rng.integers(len(own)))]
    if kind == "random spots":
        spots = random_spots(rng)
    elif kind == "broken rings":
        spots = broken_rings(rng)
    else:
        spots = pattern_of(crystal, Instrument(), rng)
    (vector,) = retriever.embed([spots], [VOLTAGE_KV])
    hits = list(retriever.rank(vector, top_k=depth_of(effort, spots).layers + 1).hits)
    if kind == "removed":
        hits = [hit for hit in hits if not _is(hit, crystal)]
    similarity = [hit.similarity for hit in hits]
    found = verify([hit.entry.crystal for hit in hits], similarity, spots, VOLTAGE_KV, effort)
    true = [row for row, hit in enumerate(hits) if kind == "known" and _is(hit, crystal)]
    return Answer(
        kind,
        len(spots),
        list(found.matches),
        found.values,
        true[0] if true else None,
    )


def _is(hit: Hit, crystal: Crystal) -> bool:
    return crystal.id in (hit.entry.id, *hit.also)


def _fitted(answers: list[Answer]) -> Calibration:
    """Temperature and weights of the greatest likelihood; the limit is where 1.5 % of the known are lost."""
    kept = [each for each in answers if np.isfinite(each.values).any()]
    count = len(evidence(_best(kept[0]), kept[0].spots))

    def loss(parameters: Array) -> float:
        total = 0.01 * float(parameters[2:] @ parameters[2:])
        for each in kept:
            refined = each.values[np.isfinite(each.values)]
            tempered = (each.values - refined.max()) / np.exp(parameters[0])
            odds = float(evidence(_best(each), each.spots) @ parameters[1:])
            if each.truth is not None and np.isfinite(each.values[each.truth]):
                share = tempered[each.truth] - np.log(np.exp(tempered[np.isfinite(tempered)]).sum())
                total += np.logaddexp(0, -odds) - share
            else:
                total += np.logaddexp(0, odds)
        return float(total)

    begin = np.concatenate([[0.7, 2.0], np.full(count - 1, -1.0)])
    found = scipy.optimize.minimize(loss, begin, method="BFGS").x
    calibration = Calibration(float(np.exp(found[0])), tuple(found[1:].tolist()), 0.0)
    known = [_known(each, calibration) for each in answers if each.kind == "known"]
    return Calibration(calibration.temperature, calibration.known, float(np.quantile(known, 0.015)))


def _best(answer: Answer) -> Match:
    best = answer.matches[int(np.argmax(answer.values))]
    assert best is not None
    return best


def _known(answer: Answer, calibration: Calibration) -> float:
    """Probability that the crystal is among the candidates."""
    found = confidence(answer.matches, answer.values, answer.spots, calibration)
    return float(np.nansum(found.probability))


def _report(answers: list[Answer], calibration: Calibration) -> dict[str, object]:
    stated, right = np.zeros(len(answers)), np.zeros(len(answers))
    verdicts: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for row, each in enumerate(answers):
        found = confidence(each.matches, each.values, each.spots, calibration)
        verdicts[each.kind].append(found.verdict)
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
        "reliability": [{key: round(value, 4) for key, value in row.items()} for row in rows],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--effort", choices=["verify", "full"], default="verify")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true", help="on validation crystals; prints the constants")
    return parser.parse_args()


if __name__ == "__main__":
    main()
