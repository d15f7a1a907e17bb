"""What the benchmarks share: query crystals from an index, ranks among candidates, and options."""

import argparse
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from index.search.results import Candidate
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CATALOG_NAME
from index.storage.versions import find_version_folder
from model.towers.checkpoint import load_towers
from model.training.split import SplitPart, assign_part, read_split_settings

SOURCE = "2dmatpedia"


def open_catalog(index: Path) -> "closing[Catalog]":
    """Open the catalog of an index's current version, for a `with` statement."""
    return closing(Catalog.open(find_version_folder(index) / CATALOG_NAME))


def select_part(
    entries: Iterable[Entry], part: SplitPart = SplitPart.TEST, source_prefix: str = ""
) -> list[Entry]:
    """Return the entries that are in a part of the split of the shipped towers."""
    seed, held_out = read_split_settings(load_towers().training)
    return [
        entry
        for entry in entries
        if entry.source.startswith(source_prefix) and assign_part(entry.formula, seed, held_out) is part
    ]


def is_candidate_of(candidate: Candidate, crystal_id: str) -> bool:
    """Return whether a candidate is a crystal or a duplicate of it."""
    return crystal_id in (candidate.entry.id, *candidate.same_as)


def find_rank(candidates: Sequence[Candidate], crystal_id: str) -> int | None:
    """Return the rank of a crystal among the candidates, from 0; None if it is not among them."""
    return next((rank for rank, each in enumerate(candidates) if is_candidate_of(each, crystal_id)), None)


def compute_top_shares(ranks: Sequence[int | None], levels: Sequence[int]) -> dict[str, float]:
    """Return the share of ranks among the first k, for each level k."""
    return {
        f"top{k}": round(float(np.mean([rank is not None and rank < k for rank in ranks])), 4) for k in levels
    }


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a benchmark of an index, described by the first line of a module."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("index", type=Path, help="folder of the index")
    return parser
