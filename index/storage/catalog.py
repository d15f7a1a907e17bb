"""The catalog of an index: the crystals and their properties in SQLite. Row i belongs to vector i."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.structure_files import write_cif
from model.crystal.symmetry import Symmetry
from model.errors import IndexDamagedError, IndexUnavailableError

CACHED_ENTRIES = 4096
# Columns of an entry, in this file and in that of the user structures.
ENTRY_SCHEMA = """
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    license TEXT,
    reference TEXT,
    formula TEXT NOT NULL,
    elements TEXT NOT NULL,
    layer_group INTEGER NOT NULL,
    layer_group_symbol TEXT NOT NULL,
    space_group INTEGER NOT NULL,
    space_group_symbol TEXT NOT NULL,
    lattice BLOB NOT NULL,
    numbers BLOB NOT NULL,
    positions BLOB NOT NULL
"""
ENTRY_COLUMNS = (
    "id, source, license, reference, formula, elements, layer_group, layer_group_symbol, space_group, "
    "space_group_symbol, lattice, numbers, positions"
)
_SCHEMA = f"""
CREATE TABLE crystals (
    row INTEGER PRIMARY KEY,
    duplicate_group INTEGER NOT NULL,
    {ENTRY_SCHEMA.strip()}
) STRICT;
"""
_INDEX = "CREATE INDEX crystals_by_group ON crystals (duplicate_group);"
_INSERT = f"INSERT INTO crystals (row, duplicate_group, {ENTRY_COLUMNS}) VALUES ({', '.join('?' * 15)})"


@dataclass(frozen=True)
class Entry:
    """A crystal of the index with its properties.

    Attributes:
        id: unique in the index; any characters.
        source: database of origin.
        formula: reduced, "MoS2".
        elements: symbols in alphabetical order.
        layer_group: 1 to 80.
        layer_group_symbol: such as "p-6m2".
        space_group: 1 to 230, of the layer in a periodic box.
        space_group_symbol: such as "P-6m2".
        crystal: the structure, with the same id.
        license: as the source states it; None if it states none.
        reference: the work that describes the crystal; None if the source states none.
    """

    id: str
    source: str
    formula: str
    elements: tuple[str, ...]
    layer_group: int
    layer_group_symbol: str
    space_group: int
    space_group_symbol: str
    crystal: Crystal
    license: str | None = None
    reference: str | None = None

    @classmethod
    def from_crystal(
        cls, crystal: Crystal, symmetry: Symmetry, license: str | None = None, reference: str | None = None
    ) -> Self:
        """Make the entry of a crystal whose symmetry is known."""
        return cls(
            id=crystal.id,
            source=crystal.source,
            formula=crystal.formula,
            elements=crystal.elements,
            layer_group=symmetry.layer_group,
            layer_group_symbol=symmetry.layer_group_symbol,
            space_group=symmetry.space_group,
            space_group_symbol=symmetry.space_group_symbol,
            crystal=crystal,
            license=license,
            reference=reference,
        )

    @property
    def symmetry(self) -> Symmetry:
        """Layer group and space group."""
        return Symmetry(self.layer_group, self.layer_group_symbol, self.space_group, self.space_group_symbol)

    @cached_property
    def cif(self) -> str:
        """The crystal as CIF with its symmetry, source and id."""
        return write_cif(self.crystal, self.symmetry)

    @classmethod
    def from_columns(cls, row: tuple[object, ...]) -> Self:
        """Make an entry from the columns `ENTRY_COLUMNS`."""
        id, source, license, reference, formula, elements, *groups, lattice, numbers, positions = row
        crystal = Crystal.from_stored(
            id=str(id),
            source=str(source),
            lattice=np.frombuffer(_check_blob(lattice), dtype="<f8").reshape(2, 2),
            numbers=np.frombuffer(_check_blob(numbers), dtype=np.uint8).astype(np.int64),
            positions=np.frombuffer(_check_blob(positions), dtype="<f8").reshape(-1, 3),
        )
        layer_group, layer_symbol, space_group, space_symbol = groups
        return cls(
            id=crystal.id,
            source=crystal.source,
            formula=str(formula),
            elements=tuple(str(elements).split()),
            layer_group=int(str(layer_group)),
            layer_group_symbol=str(layer_symbol),
            space_group=int(str(space_group)),
            space_group_symbol=str(space_symbol),
            crystal=crystal,
            license=None if license is None else str(license),
            reference=None if reference is None else str(reference),
        )

    def to_columns(self) -> tuple[object, ...]:
        """Return the values of the columns `ENTRY_COLUMNS`."""
        return (
            self.id,
            self.source,
            self.license,
            self.reference,
            self.formula,
            " ".join(self.elements),
            self.layer_group,
            self.layer_group_symbol,
            self.space_group,
            self.space_group_symbol,
            self.crystal.lattice.astype("<f8").tobytes(),
            self.crystal.numbers.astype(np.uint8).tobytes(),
            self.crystal.positions.astype("<f8").tobytes(),
        )


def write_catalog(path: Path, entries: Iterable[Entry], groups: Sequence[int]) -> None:
    """Write a new catalog, in which entry i is row i.

    Args:
        path: file to create.
        entries: N of them, with unique ids.
        groups: (N,) duplicate group of each.
    """
    connection = sqlite3.connect(path)
    try:
        # The file is not read before it is complete, so a journal would only cost time.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        rows = (
            (row, int(group), *entry.to_columns())
            for row, (entry, group) in enumerate(zip(entries, groups, strict=True))
        )
        connection.executemany(_INSERT, rows)
        connection.execute(_INDEX)
        connection.commit()
    finally:
        connection.close()


class Catalog:
    """An open catalog, read-only and safe to use from several threads.

    Args:
        connection: to a file made by `write_catalog`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # SQLite then has no pages of its own: what it reads is what a check of the file reads.
        connection.execute(f"PRAGMA mmap_size = {2**40}")
        groups = connection.execute("SELECT duplicate_group FROM crystals ORDER BY row").fetchall()
        self.groups: NDArray[np.int64] = np.array(groups, dtype=np.int64).reshape(-1)
        # The same candidates recur, for patterns of one sample and of related crystals.
        self._get_entry_at = lru_cache(maxsize=CACHED_ENTRIES)(self._read_entry)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a catalog read-only; the file must not change while it is open, so SQLite needs no locks.

        Raises:
            IndexUnavailableError: missing.
            IndexDamagedError: damaged.
        """
        try:
            # SQLite in its serialized mode guards the connection itself (sqlite3.threadsafety == 3).
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise IndexUnavailableError(
                f"The catalog {path.name} cannot be opened; build the index again."
            ) from error
        try:
            return cls(connection)
        except sqlite3.Error as error:
            connection.close()
            raise IndexDamagedError(f"{path.name} is damaged; build the index again.", path) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def forget_entries(self) -> None:
        """Forget the entries that were read, so that none is older in memory than the last check of the file."""
        self._get_entry_at.cache_clear()

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[Entry]:
        for row in self._connection.execute(f"SELECT {ENTRY_COLUMNS} FROM crystals ORDER BY row"):
            yield Entry.from_columns(row)

    def get_entry(self, id: str) -> Entry:
        """Return the entry with this id; KeyError if there is none."""
        row = self._connection.execute(f"SELECT {ENTRY_COLUMNS} FROM crystals WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise KeyError(id)
        return Entry.from_columns(row)

    def find_row(self, id: str) -> int:
        """Return the row of the entry with this id; KeyError if there is none."""
        row = self._connection.execute("SELECT row FROM crystals WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise KeyError(id)
        return int(row[0])

    def get_entries(self, rows: Iterable[int]) -> list[Entry]:
        """Return the entries of rows, in their order."""
        return [self._get_entry_at(int(row)) for row in rows]

    def _read_entry(self, row: int) -> Entry:
        rows = self._connection.execute(f"SELECT {ENTRY_COLUMNS} FROM crystals WHERE row = ?", (row,))
        return Entry.from_columns(rows.fetchone())

    def list_duplicates(self, rows: Iterable[int]) -> list[tuple[str, ...]]:
        """Return, for each row, the ids of the other crystals in its duplicate group, in the order of their rows."""
        return [
            tuple(id for other, id in self._read_group(int(self.groups[row])) if other != row) for row in rows
        ]

    def list_group(self, group: int) -> tuple[str, ...]:
        """Return the ids of the crystals in a duplicate group, in the order of their rows."""
        return tuple(id for _, id in self._read_group(group))

    def _read_group(self, group: int) -> Iterator[tuple[int, str]]:
        """Yield rows and ids of the crystals of a duplicate group, by row."""
        yield from self._connection.execute(
            "SELECT row, id FROM crystals WHERE duplicate_group = ? ORDER BY row", (group,)
        )

    def read_lattices(self) -> NDArray[np.float64]:
        """Return (N, 2, 2) cell vectors a and b of every crystal, angstrom."""
        blobs = self._connection.execute("SELECT lattice FROM crystals ORDER BY row")
        return np.frombuffer(b"".join(_check_blob(lattice) for (lattice,) in blobs), dtype="<f8").reshape(
            -1, 2, 2
        )

    def read_atomic_numbers(self) -> list[NDArray[np.uint8]]:
        """Return the atomic numbers of every crystal's atoms."""
        blobs = self._connection.execute("SELECT numbers FROM crystals ORDER BY row")
        return [np.frombuffer(_check_blob(numbers), dtype=np.uint8) for (numbers,) in blobs]

    def find_damage(self) -> str | None:
        """Return the first problem that SQLite's integrity check finds, or None."""
        try:
            (problem,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            problem = str(error)
        return None if problem == "ok" else str(problem)


def _check_blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise IndexUnavailableError(
            "The catalog contains a crystal without coordinates; build the index again."
        )
    return value
