"""Ranks, rows and protocols of an evaluation."""

import numpy as np
import pytest

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.training.evaluation import EvaluationSet, evaluate_library, evaluate_paper, format_table
from model.training.ranking import compute_top_k, rank_truth
from tests.towers.networks import untrained

TOWERS = untrained("physics")


def bench(crystals: list[Crystal]) -> EvaluationSet:
    count = len(crystals)
    return EvaluationSet(crystals, np.arange(count), np.arange(0, count, 2))


def test_ranks_count_what_lies_nearer() -> None:
    gallery = np.eye(4, dtype=np.float32)
    query = np.array([[0.1, 0.9, 0.5, 0.2], [0.9, 0.1, 0.2, 0.3]], dtype=np.float32)
    groups = np.arange(4)
    assert rank_truth(query, gallery, np.array([2, 0]), groups).tolist() == [1, 0]


def test_a_duplicate_of_the_truth_counts_as_the_truth() -> None:
    gallery = np.eye(3, dtype=np.float32)
    query = np.array([[0.1, 0.9, 0.5]], dtype=np.float32)
    assert rank_truth(query, gallery, np.array([7]), np.array([7, 7, 1])).tolist() == [0]


def test_a_missing_true_crystal_ranks_last() -> None:
    gallery = np.eye(3, dtype=np.float32)
    assert rank_truth(gallery[:1], gallery, np.array([9]), np.arange(3)).tolist() == [3]


def test_shares_of_ranks() -> None:
    assert compute_top_k(np.array([0, 1, 4, 200])) == {
        "top1": 0.25,
        "top3": 0.5,
        "top5": 0.75,
        "top10": 0.75,
        "top100": 0.75,
    }


@pytest.mark.parametrize("clean", [True, False])
def test_library_rows(crystals: list[Crystal], clean: bool) -> None:
    rows = evaluate_library(
        TOWERS, bench(crystals), clean=clean, max_tilt_deg=4.0, source_prefix=None, seed=0
    )
    assert [(row.name, row.queries, row.gallery) for row in rows] == [
        ("made in itself", 12, 24),
        ("made in all", 12, 24),
    ]
    assert all(row.top["top100"] == 1 for row in rows)


def test_the_same_seed_gives_the_same_rows(crystals: list[Crystal]) -> None:
    def rows(seed: int) -> list[dict[str, object]]:
        found = evaluate_library(
            TOWERS, bench(crystals), clean=False, max_tilt_deg=0.0, source_prefix="made", seed=seed
        )
        return [row.to_json() for row in found]

    assert rows(1) == rows(1)


def test_paper_rows(crystals: list[Crystal]) -> None:
    rows = evaluate_paper(TOWERS, bench(crystals), source="made", seed=0)
    assert [row.name for row in rows] == [
        "paper, relaxed in relaxed gallery",
        "paper, displaced in displaced gallery",
        "paper, displaced in relaxed gallery",
    ]
    assert all((row.queries, row.gallery) == (12, 12) for row in rows)
    assert format_table(rows).count("\n") == 4


def test_rejects_an_unknown_source(crystals: list[Crystal]) -> None:
    with pytest.raises(OptionError, match="nowhere"):
        evaluate_paper(TOWERS, bench(crystals), source="nowhere", seed=0)
