"""A catalog with more entries appended in memory."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import Catalog, Entry


class CatalogReader(Protocol):
    """What a search needs from a catalog of N rows."""

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

    def get_entry_at(self, row: int) -> Entry:
        """Return the entry of a row."""
        ...

    def list_duplicates(self, row: int) -> tuple[str, ...]:
        """Return the ids of the other crystals of the same duplicate group, by row."""
        ...


class ExtendedCatalog:
    """A catalog of B entries and M more, as one.

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
        return self.get_entry_at(self.find_row(id))

    def find_row(self, id: str) -> int:
        """Return the row of the entry with this id.

        Raises:
            KeyError: there is none.
        """
        row = self._rows.get(id)
        return self._base.find_row(id) if row is None else row

    def get_entry_at(self, row: int) -> Entry:
        """Return the entry of a row."""
        place = int(row) - len(self._base)
        return self._base.get_entry_at(row) if place < 0 else self._entries[place]

    def list_duplicates(self, row: int) -> tuple[str, ...]:
        """Return the ids of the other crystals of the same duplicate group, by row."""
        group = int(self.groups[row])
        places = np.flatnonzero(self.groups[len(self._base) :] == group).tolist()
        appended = [self._entries[place].id for place in places if place + len(self._base) != row]
        if row < len(self._base):
            return (*self._base.list_duplicates(row), *appended)
        return (*self._base.list_group(group), *appended)
