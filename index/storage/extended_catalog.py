"""A catalog with further entries behind its own, which is not touched."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import Catalog, Entry


class Entries(Protocol):
    """What a search needs of a catalog; N rows."""

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) duplicate group of each crystal."""
        ...

    def __len__(self) -> int: ...

    def entry(self, id: str) -> Entry:
        """The entry with this id; KeyError if there is none."""
        ...

    def row(self, id: str) -> int:
        """The row of the entry with this id; KeyError if there is none."""
        ...

    def entry_at(self, row: int) -> Entry:
        """The entry whose vector has this row."""
        ...

    def same_as(self, row: int) -> tuple[str, ...]:
        """Ids of the other crystals of the same duplicate group, in order of row."""
        ...


class ExtendedCatalog:
    """A catalog and M entries more, as one.

    Args:
        base: of B entries; whoever opened it closes it.
        entries: M of them, with ids that the base does not have.
        groups: (M,) duplicate group of each; one of the base's where it is the same crystal as that.
    """

    def __init__(self, base: Catalog, entries: Sequence[Entry], groups: NDArray[np.int64]) -> None:
        self.groups: NDArray[np.int64] = np.concatenate([base.groups, groups])
        self._base = base
        self._entries = tuple(entries)
        self._rows = {entry.id: len(base) + place for place, entry in enumerate(entries)}

    def __len__(self) -> int:
        return len(self.groups)

    def entry(self, id: str) -> Entry:
        """The entry with this id.

        Raises:
            KeyError: there is none.
        """
        return self.entry_at(self.row(id))

    def row(self, id: str) -> int:
        """The row of the entry with this id.

        Raises:
            KeyError: there is none.
        """
        row = self._rows.get(id)
        return self._base.row(id) if row is None else row

    def entry_at(self, row: int) -> Entry:
        """The entry whose vector has this row."""
        own = int(row) - len(self._base)
        return self._base.entry_at(row) if own < 0 else self._entries[own]

    def same_as(self, row: int) -> tuple[str, ...]:
        """Ids of the other crystals of the same duplicate group, in order of row."""
        group = int(self.groups[row])
        added = np.flatnonzero(self.groups[len(self._base) :] == group)
        others = [self._entries[place].id for place in added.tolist() if place + len(self._base) != row]
        if row < len(self._base):
            return (*self._base.same_as(row), *others)
        return (*self._base.of_group(group), *others)
