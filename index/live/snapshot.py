"""What a live index searches at one moment: an open version and the user structures at that time."""

from collections.abc import Iterator, Mapping, Sequence
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
from model.errors import IndexDamagedError


class OpenVersion:
    """An open version of an index, closed once it is retired and no longer in use.

    Args:
        name: of the version.
        retriever: searches it.

    Attributes:
        is_retired: whether another version has replaced it.
    """

    def __init__(self, name: str, retriever: Retriever) -> None:
        self.name = name
        self.retriever = retriever
        self._lock = Lock()
        self._users = 0
        self.is_retired = False
        self._groups = DuplicateGroups(retriever.components.base)
        self._index_entries: dict[int, Entry | None] = {}
        self._file: int | None = None

    def acquire(self) -> bool:
        """Keep the version open until `release`; return False if it is already closed."""
        with self._lock:
            if self.is_retired and not self._users:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        """Undo one `acquire`."""
        with self._lock:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close the version as soon as it is no longer in use."""
        with self._lock:
            self.is_retired = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self.is_retired and not self._users:
            self.retriever.close()

    def make_snapshot(self, structures: Sequence[UserStructure], generation: Generation) -> "Snapshot":
        """Return a snapshot of this version and user structures. Not thread-safe.

        Args:
            structures: in the order of their numbers, each with its vector.
            generation: of their file.
        """
        file = None if generation is None else generation[0]
        if file != self._file:  # the numbers of another file stand for other structures
            self._groups, self._index_entries = DuplicateGroups(self.retriever.components.base), {}
            self._file = file
        ids = self._assign_ids(structures)
        if not ids:
            return Snapshot(self, self.retriever, {}, generation)
        shown = [structure for structure in structures if structure.number in ids]
        entries = [_rename(structure.entry, ids[structure.number]) for structure in shown]
        groups = self._groups.assign({structure.number: structure.entry.crystal for structure in shown})
        vectors = np.array([_get_vector(structure) for structure in shown])
        numbers = {entry.id: structure.number for entry, structure in zip(entries, shown, strict=True)}
        retriever = self.retriever.append(AppendedCrystals(entries, vectors, groups))
        return Snapshot(self, retriever, numbers, generation)

    def _assign_ids(self, structures: Sequence[UserStructure]) -> dict[int, str]:
        """Return the ids of the user structures to search, by number.

        A new version may use the id of a user structure. If it has the same structure under this id, the user structure
        is left out; otherwise the user structure gets another id, as a build gives the second of two entries.
        """
        for structure in structures:
            if structure.number not in self._index_entries:
                self._index_entries[structure.number] = self._find_entry(structure.entry.id)
        ids = {
            structure.number: structure.entry.id
            for structure in structures
            if self._index_entries[structure.number] is None
        }
        used = set(ids.values())
        for structure in structures:
            existing = self._index_entries[structure.number]
            if existing is not None and not is_identical(existing.crystal, structure.entry.crystal):
                ids[structure.number] = self._choose_free_id(structure.entry, used)
                used.add(ids[structure.number])
        return ids

    def _choose_free_id(self, entry: Entry, used: set[str]) -> str:
        name = f"{entry.source}:{entry.id}"
        names = [name, *(f"{name}~{n}" for n in range(2, len(used) + 3))]
        return next(id for id in names if id not in used and self._find_entry(id) is None)

    def _find_entry(self, id: str) -> Entry | None:
        try:
            return self.retriever.get_entry(id)
        except KeyError:
            return None


@dataclass(frozen=True)
class ServedVersion:
    """The version that is searched.

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
    """A live index at one moment.

    Attributes:
        version: of the index.
        retriever: searches the version and the user structures.
        numbers: numbers of the user structures by id.
        generation: of the file of user structures.
    """

    version: OpenVersion
    retriever: Retriever
    numbers: Mapping[str, int]
    generation: Generation

    def check_integrity(self) -> Iterator[int]:
        """Compare files and memory with their digests, and the canary; yield the bytes of each piece read.

        Raises:
            IndexDamagedError: the version is damaged, and no other one has replaced it meanwhile.
        """
        try:
            yield from self.retriever.check_integrity()
        except IndexDamagedError:
            if not self.version.is_retired:  # the files of a retired version may have been removed
                raise

    @property
    def served(self) -> ServedVersion:
        """Name and content of the version that is searched."""
        return ServedVersion(self.version.name, self.retriever.manifest, self.retriever.user_structure_count)


def _get_vector(structure: UserStructure) -> NDArray[np.float32]:
    assert structure.vector is not None
    return structure.vector


def _rename(entry: Entry, id: str) -> Entry:
    return entry if id == entry.id else replace(entry, id=id, crystal=replace(entry.crystal, id=id))
