"""Which added structures are the same crystal as one of the index, or as each other; the index is not grouped again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import Catalog
from model.crystal.crystal import Crystal
from model.crystal.duplicates import first_same


@dataclass
class _Family:
    """The groups of crystals with the same atoms in their cells.

    Attributes:
        founders: the first crystal of each group.
        groups: number of each of these groups.
        joined: number of each added structure that has come to them, in order, to that of its group.
    """

    founders: list[Crystal]
    groups: list[int]
    joined: dict[int, int] = field(default_factory=dict)

    def join(self, number: int, crystal: Crystal, new_group: int) -> None:
        """Let a crystal come to the group of the first founder that is the same, or found one."""
        place = first_same(crystal, self.founders)
        if place is None:
            self.founders.append(crystal)
            self.groups.append(new_group)
        self.joined[number] = new_group if place is None else self.groups[place]


class DuplicateGroups:
    """The duplicate groups of added structures beside an index: those that one build of all of them would have made.

    It remembers what it has found; to add one costs a comparison with the groups of its composition, to remove one
    those of all additions of the same composition. Not safe for use from several threads.

    Args:
        catalog: of the index.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._families: dict[bytes, _Family] = {}
        self._index_families: Mapping[bytes, list[int]] | None = None
        self._first_free = int(catalog.groups.max(initial=-1)) + 1

    def of(self, additions: Mapping[int, Crystal]) -> NDArray[np.int64]:
        """(M,) the group of each.

        Args:
            additions: crystals by number, in ascending order; the same number is always the same crystal.
        """
        members: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, crystal in additions.items():
            members[crystal.numbers.tobytes()].append(number)
        for atoms in self._families.keys() - members.keys():
            del self._families[atoms]
        for atoms, numbers in members.items():
            family = self._families.get(atoms)
            if family is None or not _begins_with(numbers, family.joined):
                family = self._families[atoms] = self._of_index(atoms)
            for number in numbers[len(family.joined) :]:
                family.join(number, additions[number], self._first_free + number)
        groups = {
            number: group for atoms in members for number, group in self._families[atoms].joined.items()
        }
        return np.array([groups[number] for number in additions], dtype=np.int64)

    def _of_index(self, atoms: bytes) -> _Family:
        """The groups of the index whose crystals have these atoms."""
        if self._index_families is None:
            self._index_families = self._founders()
        rows = self._index_families.get(atoms, [])
        founders = [self._catalog.entry_at(row).crystal for row in rows]
        return _Family(founders, self._catalog.groups[rows].tolist() if rows else [])

    def _founders(self) -> Mapping[bytes, list[int]]:
        """Rows of the first crystals of the index's groups, by their atoms."""
        _, first = np.unique(self._catalog.groups, return_index=True)
        numbers = self._catalog.numbers()
        families: defaultdict[bytes, list[int]] = defaultdict(list)
        for row in sorted(first.tolist()):
            families[numbers[row].astype(np.int64).tobytes()].append(row)
        return families


def _begins_with(numbers: list[int], known: Iterable[int]) -> bool:
    known = list(known)
    return numbers[: len(known)] == known
