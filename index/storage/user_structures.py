"""The user structures of an index, read and written by any number of processes.

Rows are only added and deleted, never changed. Every change increments the generation, so that one query shows a reader
whether anything is new. Vectors of several weights can be stored side by side.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import ENTRY_COLUMNS, Entry
from index.storage.user_structure_file import UserStructureFile
from model.errors import IndexUnavailableError

Vector = NDArray[np.float32]
# Number of the file (another one when it is replaced), and number of changes made to it; None if there is no file.
Generation = tuple[int, int] | None

_INSERT = f"""
INSERT INTO structures (added_at, added_by, {ENTRY_COLUMNS})
VALUES ({", ".join("?" * (3 + ENTRY_COLUMNS.count(",")))})
"""


@dataclass(frozen=True)
class UserStructure:
    """A structure that a user added.

    Attributes:
        number: ascending in the order of addition, never used twice.
        entry: the crystal and its properties.
        added_at: time, UTC, ISO 8601.
        added_by: name of the API key, or None.
        vector: (D,) made by the requested weights; None if they have not embedded it yet.
    """

    number: int
    entry: Entry
    added_at: str
    added_by: str | None = None
    vector: Vector | None = None


class UserStructures:
    """The user structures of one file; safe to use from several threads, not across a fork.

    Every method raises IndexUnavailableError if the file is damaged, of another kind or out of reach. Methods that
    write raise ReadOnlyError if it is not writable, and StorageFullError if the disk is full; they then change nothing.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = UserStructureFile(path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read_generation(self) -> Generation:
        """Return a value that changes whenever any process adds or removes a structure or replaces the file."""
        with self._file.read() as opened:
            return None if opened is None else (opened[1], _read_generation(opened[0]))

    def read_numbers(self) -> tuple[Generation, list[int]]:
        """Return the generation and the numbers of all structures, ascending."""
        with self._file.read() as opened:
            if opened is None:
                return None, []
            reader, file = opened
            # The generation first: a change between the two queries is then read again, never missed.
            generation = _read_generation(reader)
            rows = reader.execute("SELECT number FROM structures ORDER BY number").fetchall()
            return (file, generation), [number for (number,) in rows]

    def read(self, numbers: Iterable[int], model: str) -> list[UserStructure]:
        """Return those of these structures that still exist, in this order.

        Args:
            numbers: of the structures.
            model: digest of the weights whose vectors are requested.
        """
        with self._file.read() as opened:
            if opened is None:
                return []
            return [
                structure for number in numbers for structure in _select(opened[0], "number", number, model)
            ]

    def add(
        self, entry: Entry, vector: Vector, model: str, added_at: str, added_by: str | None
    ) -> UserStructure:
        """Add a structure unless its id exists already.

        Args:
            entry: of the structure.
            vector: (D,).
            model: digest of the weights that made the vector.
            added_at: time, UTC, ISO 8601.
            added_by: name of the API key.

        Returns:
            The structure with this id, which is on the disk when this returns.
        """
        with self._file.write() as writer:
            existing = _select(writer, "id", entry.id, model)
            if existing:
                return existing[0]
            number = writer.execute(_INSERT, (added_at, added_by, *entry.to_columns())).lastrowid
            assert number is not None
            _insert_vector(writer, number, model, vector)
            _increment_generation(writer)
        return UserStructure(number, entry, added_at, added_by, vector)

    def store_vectors(self, vectors: Mapping[int, Vector], model: str) -> None:
        """Store vectors of existing structures computed with other weights; the generation does not change."""
        with self._file.write() as writer:
            for number, vector in vectors.items():
                if _select(writer, "number", number, model):
                    _insert_vector(writer, number, model, vector)

    def remove(self, number: int) -> bool:
        """Remove a structure; return False if it does not exist."""
        with self._file.write() as writer:
            is_removed = writer.execute("DELETE FROM structures WHERE number = ?", (number,)).rowcount > 0
            if is_removed:
                _increment_generation(writer)
        return is_removed

    def find_damage(self) -> str | None:
        """Return a sentence about the first problem that SQLite's integrity check finds, or None."""
        try:
            with self._file.read() as opened:
                if opened is None:
                    return None
                (problem,) = opened[0].execute("PRAGMA integrity_check(1)").fetchone()
        except IndexUnavailableError as error:
            return str(error)
        return (
            None if problem == "ok" else f"The user structures in {self._file.path} are damaged: {problem}."
        )


def _read_generation(reader: sqlite3.Connection) -> int:
    (generation,) = reader.execute("SELECT generation FROM state").fetchone()
    return int(generation)


def _select(connection: sqlite3.Connection, column: str, value: object, model: str) -> list[UserStructure]:
    """Return the structures with this number or id, with the vector of these weights."""
    rows = connection.execute(
        f"""
        SELECT structures.number, added_at, added_by, vector, {ENTRY_COLUMNS} FROM structures
        LEFT JOIN vectors ON vectors.number = structures.number AND model = ?
        WHERE structures.{column} = ?
        """,
        (model, value),
    )
    return [
        UserStructure(
            number,
            Entry.from_columns(tuple(columns)),
            added_at,
            added_by,
            None if vector is None else np.frombuffer(vector, dtype="<f4"),
        )
        for number, added_at, added_by, vector, *columns in rows
    ]


def _insert_vector(writer: sqlite3.Connection, number: int, model: str, vector: Vector) -> None:
    content = vector.astype("<f4").tobytes()
    writer.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", (number, model, content))


def _increment_generation(writer: sqlite3.Connection) -> None:
    writer.execute("UPDATE state SET generation = generation + 1")
