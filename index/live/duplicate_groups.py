"""Duplicates among user structures and the crystals of an index, found without regrouping the index."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import Catalog
from model.crystal.crystal import Crystal
from model.crystal.duplicates import find_first_duplicate


@dataclass
class _CompositionGroups:
    """The duplicate groups of crystals with the same atoms in their cells.

    Attributes:
        founders: the first crystal of each group.
        groups: number of each of these groups.
        members: group number of each user structure, by its number, in order.
    """

    founders: list[Crystal]
    groups: list[int]
    members: dict[int, int] = field(default_factory=dict)

    def add(self, number: int, crystal: Crystal, new_group: int) -> None:
        """Add a crystal to the group of the first founder that is the same crystal, or to a new group."""
        place = find_first_duplicate(crystal, self.founders)
        if place is None:
            self.founders.append(crystal)
            self.groups.append(new_group)
        self.members[number] = new_group if place is None else self.groups[place]


class DuplicateGroups:
    """The duplicate groups that a single build of the index with all user structures would have produced.

    Results are remembered: adding a structure costs a comparison with the groups of its composition, removing one the
    comparisons of all user structures of that composition. Not thread-safe.

    Args:
        catalog: of the index.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._compositions: dict[bytes, _CompositionGroups] = {}
        self._founder_rows: Mapping[bytes, list[int]] | None = None
        self._first_free_group = int(catalog.groups.max(initial=-1)) + 1

    def assign(self, crystals: Mapping[int, Crystal]) -> NDArray[np.int64]:
        """Return (M,) the duplicate group of each user structure.

        Args:
            crystals: by number, in ascending order; a number always stands for the same crystal.
        """
        numbers_by_atoms: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, crystal in crystals.items():
            numbers_by_atoms[crystal.numbers.tobytes()].append(number)
        for atoms in self._compositions.keys() - numbers_by_atoms.keys():
            del self._compositions[atoms]
        for atoms, numbers in numbers_by_atoms.items():
            composition = self._compositions.get(atoms)
            if composition is None or not _begins_with(numbers, composition.members):
                composition = self._compositions[atoms] = self._read_index_groups(atoms)
            for number in numbers[len(composition.members) :]:
                composition.add(number, crystals[number], self._first_free_group + number)
        groups = {
            number: group
            for atoms in numbers_by_atoms
            for number, group in self._compositions[atoms].members.items()
        }
        return np.array([groups[number] for number in crystals], dtype=np.int64)

    def _read_index_groups(self, atoms: bytes) -> _CompositionGroups:
        """Return the index's groups of crystals with these atoms."""
        if self._founder_rows is None:
            self._founder_rows = self._find_founder_rows()
        rows = self._founder_rows.get(atoms, [])
        founders = [entry.crystal for entry in self._catalog.get_entries(rows)]
        return _CompositionGroups(founders, self._catalog.groups[rows].tolist() if rows else [])

    def _find_founder_rows(self) -> Mapping[bytes, list[int]]:
        """Return the rows of the first crystal of each group of the index, by their atoms."""
        _, first = np.unique(self._catalog.groups, return_index=True)
        numbers = self._catalog.read_atomic_numbers()
        rows: defaultdict[bytes, list[int]] = defaultdict(list)
        for row in sorted(first.tolist()):
            rows[numbers[row].astype(np.int64).tobytes()].append(row)
        return rows


def _begins_with(numbers: list[int], known: Iterable[int]) -> bool:
    known = list(known)
    return numbers[: len(known)] == known
