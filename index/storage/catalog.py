"""What an index knows of each crystal, in SQLite; a row has the number of its vector."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.structure_files import write_cif
from model.crystal.symmetry import Symmetry
from model.errors import IndexUnavailableError

RECENT_ENTRIES = 4096
# What an entry is in a table, of this file and of added structures.
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
    """A crystal of the index with what is known of it.

    Attributes:
        id: unique in the index; any characters.
        source: database it came from.
        formula: reduced, "MoS2".
        elements: symbols in alphabetical order.
        layer_group: 1 to 80.
        layer_group_symbol: such as "p-6m2".
        space_group: 1 to 230, of the layer in a box.
        space_group_symbol: such as "P-6m2".
        crystal: the structure, with the same id.
        license: as the source states it, or None.
        reference: the work that describes the crystal, as the source states it, or None.
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
    def of(
        cls, crystal: Crystal, symmetry: Symmetry, license: str | None = None, reference: str | None = None
    ) -> Self:
        """The entry of a crystal whose symmetry is known."""
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
        """Layer and space group together."""
        return Symmetry(self.layer_group, self.layer_group_symbol, self.space_group, self.space_group_symbol)

    def cif(self) -> str:
        """The crystal as CIF with its symmetry, source and id."""
        return write_cif(self.crystal, self.symmetry)


def write_catalog(path: Path, entries: Iterable[Entry], groups: Sequence[int]) -> None:
    """Write a new catalog; entry i becomes row i.

    Args:
        path: file to make.
        entries: N of them, ids unique.
        groups: (N,) duplicate group of each.
    """
    connection = sqlite3.connect(path)
    try:
        # Nobody reads the file before it is whole, so the journal would only cost time.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        rows = (
            (row, int(group), *entry_values(entry))
            for row, (entry, group) in enumerate(zip(entries, groups, strict=True))
        )
        connection.executemany(_INSERT, rows)
        connection.execute(_INDEX)
        connection.commit()
    finally:
        connection.close()


def entry_values(entry: Entry) -> tuple[object, ...]:
    """What an entry is in the columns `ENTRY_COLUMNS`."""
    crystal = entry.crystal
    return (
        entry.id,
        entry.source,
        entry.license,
        entry.reference,
        entry.formula,
        " ".join(entry.elements),
        entry.layer_group,
        entry.layer_group_symbol,
        entry.space_group,
        entry.space_group_symbol,
        crystal.lattice.astype("<f8").tobytes(),
        crystal.numbers.astype(np.uint8).tobytes(),
        crystal.positions.astype("<f8").tobytes(),
    )


class Catalog:
    """An opened catalog, read-only and safe to use from several threads.

    Args:
        connection: to a file that `write_catalog` made.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        groups = connection.execute("SELECT duplicate_group FROM crystals ORDER BY row").fetchall()
        self.groups: NDArray[np.int64] = np.array(groups, dtype=np.int64).reshape(-1)
        # Candidates come again: with the same sample, and as relatives of others.
        self._entry_at = lru_cache(maxsize=RECENT_ENTRIES)(self._read)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read-only; the file must not change while it is open, so SQLite needs no locks.

        Raises:
            IndexUnavailableError: missing or damaged.
        """
        try:
            # SQLite built for serialised use guards the connection itself (sqlite3.threadsafety == 3).
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise IndexUnavailableError(
                f"the catalog {path} cannot be opened; build the index again"
            ) from error
        try:
            return cls(connection)
        except sqlite3.Error as error:
            connection.close()
            raise IndexUnavailableError(f"the catalog {path} is damaged; build the index again") from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[Entry]:
        for row in self._connection.execute(f"SELECT {ENTRY_COLUMNS} FROM crystals ORDER BY row"):
            yield entry_of_values(row)

    def entry(self, id: str) -> Entry:
        """The entry with this id.

        Raises:
            KeyError: there is none.
        """
        found = self._connection.execute(
            f"SELECT {ENTRY_COLUMNS} FROM crystals WHERE id = ?", (id,)
        ).fetchone()
        if found is None:
            raise KeyError(id)
        return entry_of_values(found)

    def row(self, id: str) -> int:
        """The row of the entry with this id.

        Raises:
            KeyError: there is none.
        """
        found = self._connection.execute("SELECT row FROM crystals WHERE id = ?", (id,)).fetchone()
        if found is None:
            raise KeyError(id)
        return int(found[0])

    def entry_at(self, row: int) -> Entry:
        """The entry whose vector has this row."""
        return self._entry_at(int(row))

    def _read(self, row: int) -> Entry:
        found = self._connection.execute(f"SELECT {ENTRY_COLUMNS} FROM crystals WHERE row = ?", (row,))
        return entry_of_values(found.fetchone())

    def same_as(self, row: int) -> tuple[str, ...]:
        """Ids of the other crystals of the same duplicate group, in order of row."""
        found = self._connection.execute(
            "SELECT id FROM crystals WHERE duplicate_group = ? AND row != ? ORDER BY row",
            (int(self.groups[row]), int(row)),
        )
        return tuple(id for (id,) in found)

    def of_group(self, group: int) -> tuple[str, ...]:
        """Ids of the crystals of a duplicate group, in order of row."""
        found = self._connection.execute(
            "SELECT id FROM crystals WHERE duplicate_group = ? ORDER BY row", (int(group),)
        )
        return tuple(id for (id,) in found)

    def lattices(self) -> NDArray[np.float64]:
        """(N, 2, 2) rows a and b of every crystal, angstrom."""
        blobs = self._connection.execute("SELECT lattice FROM crystals ORDER BY row")
        return np.frombuffer(b"".join(_blob(lattice) for (lattice,) in blobs), dtype="<f8").reshape(-1, 2, 2)

    def numbers(self) -> list[NDArray[np.uint8]]:
        """Atomic numbers of every crystal's atoms."""
        blobs = self._connection.execute("SELECT numbers FROM crystals ORDER BY row")
        return [np.frombuffer(_blob(numbers), dtype=np.uint8) for (numbers,) in blobs]

    def find_damage(self) -> str | None:
        """What SQLite's own check of the file finds, or None."""
        try:
            (answer,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            answer = str(error)
        return None if answer == "ok" else str(answer)


def entry_of_values(row: tuple[object, ...]) -> Entry:
    """The entry in the columns `ENTRY_COLUMNS`."""
    id, source, license, reference, formula, elements, *groups, lattice, numbers, positions = row
    crystal = Crystal.stored(
        id=str(id),
        source=str(source),
        lattice=np.frombuffer(_blob(lattice), dtype="<f8").reshape(2, 2),
        numbers=np.frombuffer(_blob(numbers), dtype=np.uint8).astype(np.int64),
        positions=np.frombuffer(_blob(positions), dtype="<f8").reshape(-1, 3),
    )
    layer_group, layer_symbol, space_group, space_symbol = groups
    return Entry(
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


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise IndexUnavailableError("the catalog holds a crystal without coordinates; build the index again")
    return value
