"""Held-out crystals against a gallery: how often does the pattern find its crystal among the first k?"""

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
from model.training.ranking import rank_truth, top_k
from model.training.split import SplitPart, read_split_settings, split

Protocol = Literal["library", "clean", "paper"]
Index = NDArray[np.int64]

PAPER_SOURCE = "2dmatpedia"
DISPLACEMENT_ANGSTROM = 0.1
CRYSTALS_AT_ONCE = 256


@dataclass(frozen=True)
class Row:
    """One line of an evaluation.

    Attributes:
        name: what was asked of what gallery.
        queries: how many patterns.
        gallery: how many crystals.
        top: share of queries whose truth is among the first k.
    """

    name: str
    queries: int
    gallery: int
    top: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """Return the line as JSON."""
        return {"name": self.name, "queries": self.queries, "gallery": self.gallery, **self.top}


@dataclass(frozen=True)
class Bench:
    """Crystals, their duplicate groups, and which of them were held out of training."""

    crystals: Sequence[Crystal]
    groups: Index
    held_out: Index

    def of_source(self, name: str) -> Index:
        """Rows of the crystals whose source begins so."""
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
) -> list[Row]:
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
    parts = split(crystals, *read_split_settings(towers.training))
    held_out = np.array(parts[SplitPart.TEST], dtype=np.int64)
    bench = Bench(crystals, np.asarray(group_duplicates(crystals)), held_out)
    if protocol == "paper":
        return evaluate_paper(towers, bench, source=source or PAPER_SOURCE, seed=seed)
    return evaluate_library(
        towers,
        bench,
        clean=protocol == "clean",
        max_tilt_deg=max_tilt_deg,
        only_source=source,
        seed=seed,
    )


def evaluate_library(
    towers: Towers, bench: Bench, *, clean: bool, max_tilt_deg: float, only_source: str | None, seed: int
) -> list[Row]:
    """Held-out crystals, a source a row, against the gallery of that source and against the whole.

    Queries are kinematic at 80 kV with 0.05 angstrom displacements through the `REALISTIC` instrument, or still
    and through a perfect one if `clean`.
    """
    vectors = embed_in_chunks(towers, bench.crystals)
    everything = np.arange(len(bench.crystals))
    rows: list[Row] = []
    for source in sorted({crystal.source for crystal in bench.crystals}):
        own = bench.of_source(source)
        queries = np.intersect1d(own, bench.held_out)
        if not len(queries) or (only_source and not source.lower().startswith(only_source.lower())):
            continue
        draws = _draws(len(queries), max_tilt_deg, 0.0 if clean else 0.05, seed)
        asked = _embed_patterns(towers, bench, queries, draws, CLEAN if clean else REALISTIC, seed)
        for name, gallery in ((f"{source} in itself", own), (f"{source} in all", everything)):
            rows.append(_row(name, asked, bench.groups[queries], vectors[gallery], bench.groups[gallery]))
    return rows


def evaluate_paper(towers: Towers, bench: Bench, *, source: str, seed: int) -> list[Row]:
    """DD2D's own protocol: fixed orientation, no noise, the gallery is the test crystals of one source.

    Relaxed; then every atom displaced by 0.1 angstrom rms along each axis, with the gallery displaced too (as the
    paper did) and with the relaxed gallery (as a user has it).
    """
    held = np.intersect1d(bench.of_source(source), bench.held_out)
    if not len(held):
        raise OptionError(f"no held-out crystals of source {source!r}; name one of the sources in the data")
    groups, rng = bench.groups[held], np.random.default_rng(seed)
    relaxed = [bench.crystals[row] for row in held]
    displaced = [_displaced(crystal, rng) for crystal in relaxed]
    still = _draws(len(held), 0.0, 0.0, seed)
    everyone = np.arange(len(held))
    asked = {
        name: _embed_patterns(towers, Bench(crystals, groups, everyone), everyone, still, FIXED, seed)
        for name, crystals in (("relaxed", relaxed), ("displaced", displaced))
    }
    galleries = {"relaxed": embed_in_chunks(towers, relaxed), "displaced": embed_in_chunks(towers, displaced)}
    return [
        _row(f"paper, {query} in {gallery} gallery", asked[query], groups, galleries[gallery], groups)
        for query, gallery in (("relaxed", "relaxed"), ("displaced", "displaced"), ("displaced", "relaxed"))
    ]


def embed_in_chunks(towers: Towers, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
    """(N, D) vectors of many crystals without padding all of them to the longest."""
    starts = range(0, len(crystals), CRYSTALS_AT_ONCE)
    return np.concatenate([towers.embed_crystals(crystals[i : i + CRYSTALS_AT_ONCE]) for i in starts])


def format_table(rows: Iterable[Row]) -> str:
    """Format rows as a Markdown table."""
    lines = [
        "| queries | n | gallery | top-1 | top-3 | top-5 | top-10 | top-100 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = " | ".join(f"{100 * share:.1f}" for share in row.top.values())
        lines.append(f"| {row.name} | {row.queries} | {row.gallery} | {shares} |")
    return "\n".join(lines)


def _row(
    name: str, asked: NDArray[np.float32], truth: Index, gallery: NDArray[np.float32], groups: Index
) -> Row:
    return Row(name, len(asked), len(gallery), top_k(rank_truth(asked, gallery, truth, groups)))


def _draws(count: int, max_tilt_deg: float, displacement: float, seed: int) -> list[Draws]:
    """One draw a crystal: 80 kV, tilted uniformly up to the limit, kinematic."""
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
    towers: Towers, bench: Bench, rows: Index, draws: Sequence[Draws], instrument: Instrument, seed: int
) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, 2])
    count = len(rows)
    q = np.zeros((count, POOL_PAIRS, 2), dtype=np.float32)
    log_intensity = np.zeros((count, POOL_PAIRS, 2), dtype=np.float32)
    present = np.zeros((count, POOL_PAIRS), dtype=bool)
    for place, (row, draw) in enumerate(zip(rows, draws, strict=True)):
        own_q, own_log, _ = simulate_patterns(bench.crystals[row], draw, rng)
        q[place, : len(own_q)], log_intensity[place, : len(own_q)] = own_q, own_log[0]
        present[place, : len(own_q)] = True
    voltage = np.full(count, 80.0, dtype=np.float32)
    return towers.embed_patterns(observe(q, log_intensity, present, voltage, instrument, rng))


def _displaced(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    shifts = rng.normal(0, DISPLACEMENT_ANGSTROM, crystal.positions.shape)
    return replace(crystal, positions=crystal.positions + shifts)
