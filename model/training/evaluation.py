"""Evaluation on held-out crystals: how often a pattern retrieves its crystal among the first k of a gallery."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.duplicates import group_duplicates
from model.errors import OptionError
from model.towers.encoder import Towers
from model.training.augmentation import CLEAN, FIXED, REALISTIC, Instrument, observe
from model.training.pool import POOL_PAIRS, Draws, simulate_patterns
from model.training.ranking import compute_top_k, rank_truth
from model.training.split import SplitPart, read_split_settings, split_by_formula

Protocol = Literal["library", "clean", "paper"]
Index = NDArray[np.int64]

PAPER_SOURCE = "2dmatpedia"
DISPLACEMENT_ANGSTROM = 0.1
CRYSTALS_AT_ONCE = 256


@dataclass(frozen=True)
class EvaluationRow:
    """One row of an evaluation.

    Attributes:
        name: queries and gallery.
        queries: number of patterns.
        gallery: number of crystals.
        top: share of queries with the true crystal among the first k.
    """

    name: str
    queries: int
    gallery: int
    top: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """Return the row as JSON."""
        return {"name": self.name, "queries": self.queries, "gallery": self.gallery, **self.top}


@dataclass(frozen=True)
class EvaluationSet:
    """Crystals, their duplicate groups, and the indices of those that were held out of training."""

    crystals: Sequence[Crystal]
    groups: Index
    held_out: Index

    def find_source_rows(self, name: str) -> Index:
        """Return the rows of the crystals whose source begins with a name."""
        rows = [
            i for i, crystal in enumerate(self.crystals) if crystal.source.lower().startswith(name.lower())
        ]
        return np.array(rows, dtype=np.int64)


def evaluate_towers(
    towers: Towers,
    crystals: Sequence[Crystal],
    protocol: Protocol,
    *,
    max_tilt_deg: float = 0.0,
    source: str | None = None,
    seed: int = 0,
) -> list[EvaluationRow]:
    """Evaluate towers on the crystals that their training held out.

    Args:
        towers: trained towers.
        crystals: the library; the towers state which of them were held out.
        protocol: `library`: patterns as instruments record them; `clean`: ideal patterns; `paper`: that of DD2D.
        max_tilt_deg: largest tilt of the queries, except with `paper`.
        source: evaluate only sources whose name begins so.
        seed: of the noise.

    Raises:
        OptionError: the towers do not state their split, or there are no crystals to evaluate.
    """
    parts = split_by_formula(crystals, *read_split_settings(towers.training))
    held_out = np.array(parts[SplitPart.TEST], dtype=np.int64)
    evaluation_set = EvaluationSet(crystals, np.asarray(group_duplicates(crystals)), held_out)
    if protocol == "paper":
        return evaluate_paper(towers, evaluation_set, source=source or PAPER_SOURCE, seed=seed)
    return evaluate_library(
        towers,
        evaluation_set,
        clean=protocol == "clean",
        max_tilt_deg=max_tilt_deg,
        source_prefix=source,
        seed=seed,
    )


def evaluate_library(
    towers: Towers,
    evaluation_set: EvaluationSet,
    *,
    clean: bool,
    max_tilt_deg: float,
    source_prefix: str | None,
    seed: int,
) -> list[EvaluationRow]:
    """Evaluate the held-out crystals of each source against that source and against the whole library.

    Queries are kinematic at 80 kV with displacements of 0.05 angstrom, recorded by the `REALISTIC` instrument; or
    without displacements and by an ideal instrument if `clean`.
    """
    vectors = embed_in_chunks(towers, evaluation_set.crystals)
    everything = np.arange(len(evaluation_set.crystals))
    rows: list[EvaluationRow] = []
    for source in sorted({crystal.source for crystal in evaluation_set.crystals}):
        own = evaluation_set.find_source_rows(source)
        queries = np.intersect1d(own, evaluation_set.held_out)
        if not len(queries) or (source_prefix and not source.lower().startswith(source_prefix.lower())):
            continue
        draws = _build_draws(len(queries), max_tilt_deg, 0.0 if clean else 0.05, seed)
        vectors_of_queries = _embed_patterns(
            towers, evaluation_set, queries, draws, CLEAN if clean else REALISTIC, seed
        )
        for name, gallery in ((f"{source} in itself", own), (f"{source} in all", everything)):
            rows.append(
                _build_row(
                    name,
                    vectors_of_queries,
                    evaluation_set.groups[queries],
                    vectors[gallery],
                    evaluation_set.groups[gallery],
                )
            )
    return rows


def evaluate_paper(
    towers: Towers, evaluation_set: EvaluationSet, *, source: str, seed: int
) -> list[EvaluationRow]:
    """Evaluate by the protocol of DD2D: fixed orientation, no noise, a gallery of the test crystals of one source.

    The rows are: relaxed crystals; crystals whose atoms are displaced by 0.1 angstrom rms along each axis, in a gallery
    with the same displacements (as in the paper); and displaced crystals in the relaxed gallery (as in practice).
    """
    held = np.intersect1d(evaluation_set.find_source_rows(source), evaluation_set.held_out)
    if not len(held):
        raise OptionError(
            f"There are no held-out crystals of source {source!r}; name one of the sources in the data."
        )
    groups, rng = evaluation_set.groups[held], np.random.default_rng(seed)
    relaxed = [evaluation_set.crystals[row] for row in held]
    displaced = [_displace(crystal, rng) for crystal in relaxed]
    still = _build_draws(len(held), 0.0, 0.0, seed)
    everyone = np.arange(len(held))
    queries = {
        name: _embed_patterns(towers, EvaluationSet(crystals, groups, everyone), everyone, still, FIXED, seed)
        for name, crystals in (("relaxed", relaxed), ("displaced", displaced))
    }
    galleries = {"relaxed": embed_in_chunks(towers, relaxed), "displaced": embed_in_chunks(towers, displaced)}
    return [
        _build_row(f"paper, {query} in {gallery} gallery", queries[query], groups, galleries[gallery], groups)
        for query, gallery in (("relaxed", "relaxed"), ("displaced", "displaced"), ("displaced", "relaxed"))
    ]


def embed_in_chunks(towers: Towers, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
    """Return (N, D) vectors of many crystals; each chunk is padded separately."""
    starts = range(0, len(crystals), CRYSTALS_AT_ONCE)
    return np.concatenate([towers.embed_crystals(crystals[i : i + CRYSTALS_AT_ONCE]) for i in starts])


def format_table(rows: Iterable[EvaluationRow]) -> str:
    """Format rows as a Markdown table."""
    lines = [
        "| queries | n | gallery | top-1 | top-3 | top-5 | top-10 | top-100 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = " | ".join(f"{100 * share:.1f}" for share in row.top.values())
        lines.append(f"| {row.name} | {row.queries} | {row.gallery} | {shares} |")
    return "\n".join(lines)


def _build_row(
    name: str, vectors: NDArray[np.float32], truth: Index, gallery: NDArray[np.float32], groups: Index
) -> EvaluationRow:
    return EvaluationRow(
        name, len(vectors), len(gallery), compute_top_k(rank_truth(vectors, gallery, truth, groups))
    )


def _build_draws(count: int, max_tilt_deg: float, displacement: float, seed: int) -> list[Draws]:
    """Return one draw for each crystal: 80 kV, kinematic, with a uniform tilt up to the limit."""
    rng = np.random.default_rng([seed, 1])
    return [
        Draws(
            voltage_kv=np.array([80.0]),
            tilt_deg=rng.uniform(0, max_tilt_deg, 1) if max_tilt_deg else np.zeros(1),
            azimuth_deg=rng.uniform(0, 360, 1),
            displacement_angstrom=np.array([displacement]),
            b_iso=np.zeros(1),
            dynamical=np.zeros(1, dtype=bool),
            face_down=np.zeros(1, dtype=bool),
        )
        for _ in range(count)
    ]


def _embed_patterns(
    towers: Towers,
    evaluation_set: EvaluationSet,
    rows: Index,
    draws: Sequence[Draws],
    instrument: Instrument,
    seed: int,
) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, 2])
    count = len(rows)
    q = np.zeros((count, POOL_PAIRS, 2), dtype=np.float32)
    log_intensity = np.zeros((count, POOL_PAIRS, 2), dtype=np.float32)
    present = np.zeros((count, POOL_PAIRS), dtype=bool)
    for place, (row, draw) in enumerate(zip(rows, draws, strict=True)):
        own_q, own_log, _ = simulate_patterns(evaluation_set.crystals[row], draw, rng)
        q[place, : len(own_q)], log_intensity[place, : len(own_q)] = own_q, own_log[0]
        present[place, : len(own_q)] = True
    voltage = np.full(count, 80.0, dtype=np.float32)
    return towers.embed_patterns(observe(q, log_intensity, present, voltage, instrument, rng))


def _displace(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    shifts = rng.normal(0, DISPLACEMENT_ANGSTROM, crystal.positions.shape)
    return replace(crystal, positions=crystal.positions + shifts)
