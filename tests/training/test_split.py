"""The split keeps equal crystals together and benchmark crystals out of training."""

import gzip
import json
from pathlib import Path

import pytest

from model.crystal.crystal import Crystal
from model.crystal.duplicates import group_duplicates
from model.errors import UnreadableError
from model.training.split import SplitPart, assign_part, read_held_out_formulas, split_by_formula
from tests.index.layers import crystal
from tests.paths import SHARED

beside = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared databases are not beside the project")


def test_every_crystal_has_one_part(crystals: list[Crystal]) -> None:
    parts = split_by_formula(crystals, seed=0)
    assert sorted(i for rows in parts.values() for i in rows) == list(range(len(crystals)))


def test_the_shares_are_eight_to_one_to_one() -> None:
    parts = [assign_part(f"X{i}", seed=3) for i in range(20_000)]
    shares = [
        parts.count(part) / len(parts) for part in (SplitPart.TRAIN, SplitPart.VALIDATION, SplitPart.TEST)
    ]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_the_seed_decides_and_nothing_else() -> None:
    names = [f"X{i}" for i in range(300)]
    assert [assign_part(n, 1) for n in names] == [assign_part(n, 1) for n in names]
    assert [assign_part(n, 1) for n in names] != [assign_part(n, 2) for n in names]


def test_polymorphs_and_stackings_stay_together() -> None:
    one = crystal(0)
    other = Crystal("other", "elsewhere", one.lattice * 1.1, one.numbers, one.positions)
    for seed in range(20):
        parts = split_by_formula([one, other], seed)
        assert sorted(len(rows) for rows in parts.values()) == [0, 0, 2]


def test_held_out_formulas_are_test_for_every_seed() -> None:
    assert {assign_part("MoS2", seed, {"MoS2"}) for seed in range(50)} == {SplitPart.TEST}


def test_held_out_formulas_are_read_plain_and_compressed(tmp_path: Path) -> None:
    text = json.dumps([{"species": ["S", "Mo", "S"]}, {"species": ["C", "C"]}])
    (tmp_path / "plain.json").write_text(text)
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("plain.json", "packed.json.gz"):
        assert read_held_out_formulas([tmp_path / name]) == {"MoS2", "C"}


@pytest.mark.parametrize("text", ["", "{", "{}", '[{"species": 3}]', "[1]"])
def test_rejects_files_without_crystals(text: str, tmp_path: Path) -> None:
    (tmp_path / "queries.json").write_text(text)
    with pytest.raises(UnreadableError, match=r"queries\.json"):
        read_held_out_formulas([tmp_path / "queries.json"])


@beside
def test_nothing_of_the_benchmark_and_no_duplicate_crosses_the_split() -> None:
    from index.sources.recognition import read_crystals
    from index.sources.record import RejectedEntry

    names = ("c2db_sample", "ml2ddb", "mxenes")
    found = [
        each for name in names for each in read_crystals(SHARED / "data" / "structures" / f"{name}.jsonl.gz")
    ]
    crystals = [each for each in found if not isinstance(each, RejectedEntry)]
    held_out = read_held_out_formulas([SHARED / "bench" / "multislice_dev.json.gz"])
    parts = split_by_formula(crystals, 0, held_out)
    trained = {crystals[i].formula for i in parts[SplitPart.TRAIN] + parts[SplitPart.VALIDATION]}
    assert trained & held_out == set()
    groups = group_duplicates(crystals)
    sides = [{groups[i] for i in rows} for rows in parts.values()]
    assert all(not (one & other) for one in sides for other in sides if one is not other)
