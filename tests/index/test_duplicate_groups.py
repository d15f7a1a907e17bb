"""User structures get the groups that one build of all structures would have made."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.live.duplicate_groups import DuplicateGroups
from index.storage.catalog import Catalog, Entry, write_catalog
from model.crystal.crystal import Crystal
from model.crystal.duplicates import find_first_duplicate, group_duplicates
from model.crystal.symmetry import determine_symmetry
from tests.index.layers import crystal


def larger(index: int, factor: float) -> Crystal:
    """Return a crystal with a larger cell; up to 5 % it counts as the same."""
    made = crystal(index)
    scale = [factor, factor, 1.0]
    return replace(made, lattice=made.lattice * factor, positions=made.positions * scale)


# Chains in which neighbors are duplicates and the ends are not, so that the order decides which crystal founds a group.
CHAIN = [larger(index, factor) for index in (0, 9) for factor in (1.0, 1.04, 1.08, 1.12, 0.97)]
CHAIN += [larger(5, 1.0), larger(6, 1.0), larger(6, 1.01)]


def catalog_of(path: Path, crystals: Sequence[Crystal]) -> Catalog:
    entries = [
        Entry.from_crystal(named, determine_symmetry(named))
        for n, c in enumerate(crystals)
        for named in [replace(c, id=f"{n}")]
    ]
    write_catalog(path, entries, group_duplicates(crystals))
    return Catalog.open(path)


def partition(groups: Sequence[int]) -> list[int]:
    numbers: dict[int, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


@pytest.mark.parametrize("seed", range(8))
def test_groups_equal_those_of_one_build(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    crystals = [CHAIN[row] for row in rng.permutation(len(CHAIN))]
    base = int(rng.integers(1, len(crystals)))
    catalog = catalog_of(tmp_path / "catalog", crystals[:base])
    groups = DuplicateGroups(catalog)
    structures: dict[int, Crystal] = {}
    for number, added in enumerate(crystals[base:], start=1):
        structures[number] = added
        if rng.random() < 0.3:
            del structures[int(rng.choice(list(structures)))]
        assigned = groups.assign(structures)
        expected = group_duplicates([*crystals[:base], *structures.values()])
        assert partition([*catalog.groups.tolist(), *assigned.tolist()]) == expected
    catalog.close()


def test_finds_the_first_identical_founder() -> None:
    founders = [crystal(3), larger(0, 1.08), larger(0, 1.04), crystal(1)]
    assert find_first_duplicate(larger(0, 1.05), founders) == 1
    assert find_first_duplicate(crystal(0), founders) == 2
    assert find_first_duplicate(crystal(2), founders) is None
    assert find_first_duplicate(crystal(2), []) is None
