"""A catalog with further entries appended in memory."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import Catalog, Entry


class CatalogReader(Protocol):
    """The interface of a catalog of N rows that a search needs."""

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) duplicate group of each crystal."""
        ...

    def __len__(self) -> int: ...

    def get_entry(self, id: str) -> Entry:
        """Return the entry with this id; KeyError if there is none."""
        ...

    def find_row(self, id: str) -> int:
        """Return the row of the entry with this id; KeyError if there is none."""
        ...

    def get_entries(self, rows: Iterable[int]) -> list[Entry]:
        """Return the entries of rows, in their order."""
        ...

    def list_duplicates(self, rows: Iterable[int]) -> list[tuple[str, ...]]:
        """Return, for each row, the ids of the other crystals in its duplicate group, in the order of their rows."""
        ...


class ExtendedCatalog:
    """A catalog of B entries and M appended ones.

    Args:
        base: the catalog; closing it is left to its owner.
        entries: M of them, with ids that the base does not have.
        groups: (M,) duplicate group of each; a group of the base for a duplicate of one of its entries.
    """

    def __init__(self, base: Catalog, entries: Sequence[Entry], groups: NDArray[np.int64]) -> None:
        self.groups: NDArray[np.int64] = np.concatenate([base.groups, groups])
        self._base = base
        self._entries = tuple(entries)
        self._rows = {entry.id: len(base) + place for place, entry in enumerate(entries)}

    def __len__(self) -> int:
        return len(self.groups)

    def get_entry(self, id: str) -> Entry:
        """Return the entry with this id.

        Raises:
            KeyError: there is none.
        """
        return self.get_entries([self.find_row(id)])[0]

    def find_row(self, id: str) -> int:
        """Return the row of the entry with this id; KeyError if there is none."""
        row = self._rows.get(id)
        return self._base.find_row(id) if row is None else row

    def get_entries(self, rows: Iterable[int]) -> list[Entry]:
        """Return the entries of rows, in their order."""
        count = len(self._base)
        rows = [int(row) for row in rows]
        stored = iter(self._base.get_entries(row for row in rows if row < count))
        return [next(stored) if row < count else self._entries[row - count] for row in rows]

    def list_duplicates(self, rows: Iterable[int]) -> list[tuple[str, ...]]:
        """Return, for each row, the ids of the other crystals in its duplicate group, in the order of their rows."""
        count = len(self._base)
        rows = [int(row) for row in rows]
        stored = iter(self._base.list_duplicates(row for row in rows if row < count))
        return [
            (
                *(next(stored) if row < count else self._base.list_group(int(self.groups[row]))),
                *self._list_appended_duplicates(row),
            )
            for row in rows
        ]

    def _list_appended_duplicates(self, row: int) -> tuple[str, ...]:
        """Return the ids of the appended crystals of a row's duplicate group, other than the row itself."""
        count = len(self._base)
        places = np.flatnonzero(self.groups[count:] == self.groups[row]).tolist()
        return tuple(self._entries[place].id for place in places if place + count != row)
