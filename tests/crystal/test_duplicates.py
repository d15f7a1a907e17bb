import gzip
import json
from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.periodic_table import Element

from model.crystal.crystal import Crystal
from model.crystal.duplicates import RELATED, SAME, group_duplicates, is_same_crystal
from model.crystal.site_matching import Tolerance
from tests.paths import SHARED

Cell = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
STRUCTURES = SHARED / "data" / "structures"
needs_structures = pytest.mark.skipif(
    not STRUCTURES.is_dir(), reason="the shared structures are not beside this checkout"
)


def crystal_of(cell: Cell, id: str = "some") -> Crystal:
    return Crystal.from_cell(*cell, id=id, source="test")


# Atoms scattered over a cell of 27 angstrom, which `Crystal` refuses (see tests/index/test_sources.py).
NO_LAYER = {"Sn3Bi4"}


@cache
def library(*names: str) -> tuple[list[Crystal], list[dict[str, str]]]:
    """Crystals and entries of the library's files; an entry's "key" is what `dup_of` calls it."""
    crystals, entries = [], []
    for name in names:
        with gzip.open(STRUCTURES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                entry = json.loads(line)
                if entry["id"] in NO_LAYER:
                    continue
                numbers = [Element(symbol).Z for symbol in entry["species"]]
                cell = (np.array(entry["lattice"]), np.array(numbers), np.array(entry["frac"]))
                crystals.append(crystal_of(cell, entry["id"]))
                key = f"{entry['source']}|{entry['id']}"
                entries.append({"key": key, "dup_of": entry["meta"].get("dup_of") or ""})
    return crystals, entries


def matcher_says_same(one: Crystal, other: Crystal) -> bool:
    height = max(one.thickness, other.thickness) + 20.0
    matcher = StructureMatcher(ltol=0.05, stol=0.15, angle_tol=3, scale=False)
    return bool(
        matcher.fit(one.to_structure(height - one.thickness), other.to_structure(height - other.thickness))
    )


def test_relaxed_turned_and_mirrored_is_the_same(cells: dict[str, Cell]) -> None:
    rng = np.random.default_rng(0)
    for cell in cells.values():
        lattice, numbers, frac = cell
        other = crystal_of(
            (lattice * [-1.02, 1.02, 1.0], numbers, frac + rng.uniform(-0.01, 0.01, frac.shape))
        )
        assert is_same_crystal(crystal_of(cell), other)
        assert group_duplicates([crystal_of(cell), other]) == [0, 0]


def test_stackings_are_kept_apart() -> None:
    """Two layers of a hexagonal crystal, one over the other or moved by a third of the cell."""
    lattice = np.array([[3.2, 0.0, 0.0], [-1.6, 3.2 * np.sqrt(3) / 2, 0.0], [0.0, 0.0, 30.0]])
    layer = np.array([[1 / 3, 2 / 3, 0.0], [2 / 3, 1 / 3, 0.052], [2 / 3, 1 / 3, -0.052]])
    numbers = np.array([42, 16, 16] * 2)
    stacks = [
        crystal_of((lattice, numbers, np.concatenate([layer, layer + np.array([shift, 2 * shift, 0.21])])))
        for shift in (0.0, 1 / 3, 2 / 3)
    ]
    assert group_duplicates(stacks) == [0, 1, 1]
    assert not is_same_crystal(stacks[0], stacks[1])


def test_other_lattice_or_composition_differs(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["graphene"]
    graphene = crystal_of((lattice, numbers, frac))
    assert not is_same_crystal(graphene, crystal_of((lattice * [1.08, 1.08, 1.0], numbers, frac)))
    assert not is_same_crystal(graphene, crystal_of((lattice, numbers + 1, frac)))


def test_respects_the_tolerance(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["graphene"]
    one, other = (
        crystal_of((lattice, numbers, frac)),
        crystal_of((lattice * [1.03, 1.03, 1.0], numbers, frac)),
    )
    assert is_same_crystal(one, other, SAME)
    assert not is_same_crystal(one, other, Tolerance(length_fraction=0.02))


def test_chains_merge_only_on_request(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["graphene"]
    series = [crystal_of((lattice * [s, s, 1.0], numbers, frac)) for s in (1.0, 1.04, 1.08, 1.12)]
    assert group_duplicates(series) == [0, 0, 1, 1]
    assert group_duplicates(series, chained=True) == [0, 0, 0, 0]


def test_a_weak_superlattice_is_related(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = cells["MoSSe"]
    double = np.concatenate([frac, frac + np.array([1, 0, 0])]) / [2, 1, 1]
    double[0] += [0.02, 0.0, 0.0]
    distorted = crystal_of((lattice * [[2.0], [1.0], [1.0]], np.tile(numbers, 2), double))
    plain = crystal_of(cells["MoSSe"])
    assert len(distorted.numbers) == 2 * len(plain.numbers)
    assert not is_same_crystal(plain, distorted)
    assert is_same_crystal(plain, distorted, RELATED)
    assert group_duplicates([plain, distorted], RELATED, chained=True) == [0, 0]


def test_no_crystals_have_no_groups() -> None:
    assert group_duplicates([]) == []


@needs_structures
def test_no_duplicate_that_the_library_names_is_missed() -> None:
    crystals, entries = library("2dmatpedia", "c2db_sample", "ml2ddb")
    groups = group_duplicates(crystals, RELATED, chained=True)
    group_of = {entry["key"]: group for entry, group in zip(entries, groups, strict=True)}
    named = [
        (group_of[entry["key"]], group_of[entry["dup_of"]])
        for entry in entries
        if entry["dup_of"] in group_of
    ]
    assert len(named) > 300
    assert [pair for pair in named if pair[0] != pair[1]] == []


@needs_structures
@pytest.mark.parametrize("names", [("2dmatpedia", "c2db_sample", "ml2ddb"), ("bilayers",)])
def test_agrees_with_structure_matcher(names: tuple[str, ...]) -> None:
    """All but crystals that the matcher alone folds to a smaller cell: it lets sites differ by 0.25 angstrom."""
    crystals, _ = library(*names)
    families: defaultdict[bytes, list[Crystal]] = defaultdict(list)
    for crystal in crystals:
        families[crystal.numbers.tobytes()].append(crystal)
    rng = np.random.default_rng(5)
    several = [family for family in families.values() if len(family) > 1]
    pairs = [
        rng.choice(np.array(several[i], dtype=object), 2, replace=False)
        for i in rng.permutation(len(several))
    ]
    agreed = [is_same_crystal(*pair) == matcher_says_same(*pair) for pair in pairs[:150]]
    assert np.mean(agreed) >= 0.98
