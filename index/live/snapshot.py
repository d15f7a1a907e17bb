"""What a living library searches at one moment: an opened version, and the structures added to it until then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from index.live.duplicate_groups import DuplicateGroups
from index.live.new_user_structure import is_identical
from index.search.retriever import Retriever
from index.storage.catalog import Entry
from index.storage.components import AppendedCrystals
from index.storage.manifest import Manifest
from index.storage.user_structures import Generation, UserStructure


class OpenVersion:
    """A version of an index that is open, and stays so while anybody uses it.

    Args:
        name: of the version.
        retriever: that searches it.
    """

    def __init__(self, name: str, retriever: Retriever) -> None:
        self.name = name
        self.retriever = retriever
        self._lock = Lock()
        self._users = 0
        self._is_retired = False
        self._grouping = DuplicateGroups(retriever.components.base)
        self._in_index: dict[int, Entry | None] = {}
        self._file: int | None = None

    def take(self) -> bool:
        """Hold it open; False where it is closed already."""
        with self._lock:
            if self._is_retired and not self._users:
                return False
            self._users += 1
            return True

    def let_go(self) -> None:
        """The end of what `take` began."""
        with self._lock:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close it as soon as nobody uses it any more."""
        with self._lock:
            self._is_retired = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._users:
            self.retriever.close()

    def with_additions(self, additions: Sequence[UserStructure], generation: Generation) -> "Snapshot":
        """This version and what was added, as one library; not to be called from several threads at once.

        Args:
            additions: in the order of their numbers, each with its vector.
            generation: of the file at that time.
        """
        file = None if generation is None else generation[0]
        if file != self._file:  # the same numbers are others in another file
            self._grouping, self._in_index, self._file = (
                DuplicateGroups(self.retriever.components.base),
                {},
                file,
            )
        shown = self._shown(additions)
        if not shown:
            return Snapshot(self, self.retriever, {}, generation)
        kept = [each for each in additions if each.number in shown]
        entries = [_renamed(each.entry, shown[each.number]) for each in kept]
        groups = self._grouping.of({each.number: each.entry.crystal for each in kept})
        extra = AppendedCrystals(entries, np.array([_vector_of(each) for each in kept]), groups)
        numbers = {entry.id: each.number for entry, each in zip(entries, kept, strict=True)}
        return Snapshot(self, self.retriever.append(extra), numbers, generation)

    def _shown(self, additions: Sequence[UserStructure]) -> dict[int, str]:
        """Number to id of the additions that are searched.

        A version may come that has the id of an addition. If it has the very structure too, that is the index's from
        then on; else the addition is called otherwise, as a build calls the second of two.
        """
        shown: dict[int, str] = {}
        for each in additions:
            if each.number not in self._in_index:
                self._in_index[each.number] = self._entry(each.entry.id)
            if self._in_index[each.number] is None:
                shown[each.number] = each.entry.id
        taken = set(shown.values())
        for each in additions:
            there = self._in_index[each.number]
            if there is not None and not is_identical(there.crystal, each.entry.crystal):
                shown[each.number] = self._free_id(each.entry, taken)
                taken.add(shown[each.number])
        return shown

    def _free_id(self, entry: Entry, taken: set[str]) -> str:
        name = f"{entry.source}:{entry.id}"
        names = [name, *(f"{name}~{n}" for n in range(2, len(taken) + 3))]
        return next(each for each in names if each not in taken and self._entry(each) is None)

    def _entry(self, id: str) -> Entry | None:
        try:
            return self.retriever.entry(id)
        except KeyError:
            return None


@dataclass(frozen=True)
class ServedVersion:
    """What is searched at the moment.

    Attributes:
        name: of the version.
        manifest: of the version.
        user_structure_count: number of user structures searched with it.
    """

    name: str
    manifest: Manifest
    user_structure_count: int


@dataclass(frozen=True)
class Snapshot:
    """A library as it is at one moment.

    Attributes:
        version: of the index.
        retriever: that searches the version and what was added.
        numbers: id to number of each added structure.
        generation: of the file of added structures.
    """

    version: OpenVersion
    retriever: Retriever
    numbers: Mapping[str, int]
    generation: Generation

    @property
    def served(self) -> ServedVersion:
        """What this is."""
        return ServedVersion(self.version.name, self.retriever.manifest, self.retriever.user_structure_count)


def _vector_of(addition: UserStructure) -> NDArray[np.float32]:
    assert addition.vector is not None
    return addition.vector


def _renamed(entry: Entry, id: str) -> Entry:
    return entry if id == entry.id else replace(entry, id=id, crystal=replace(entry.crystal, id=id))
