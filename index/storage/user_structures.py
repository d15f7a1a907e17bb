"""The user structures of an index, read and written by any number of processes.

Rows are only added and deleted, never changed, and each has a digest. Every change increments the generation, so that
one query shows a reader whether anything is new. Vectors of several weights can be stored side by side.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import ENTRY_COLUMNS, Entry
from index.storage.row_digests import STRUCTURE_COLUMNS, compute_row_digest, find_damage, has_digests
from index.storage.user_structure_file import UserStructureFile, make_damage_error
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

    def compute_digest(self) -> bytes:
        """Return a digest of the structure and its vector."""
        vector = None if self.vector is None else self.vector.tobytes()
        return compute_row_digest(
            (self.number, self.added_at, self.added_by, *self.entry.to_columns(), vector)
        )


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

    def upgrade(self) -> None:
        """Add the digests of rows to a file of earlier software, if it is writable."""
        self._file.upgrade()

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
                structure
                for number in numbers
                for structure in self._select(opened[0], "number", number, model)
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
            existing = self._select(writer, "id", entry.id, model)
            if existing:
                return existing[0]
            number = writer.execute(_INSERT, (added_at, added_by, *entry.to_columns())).lastrowid
            assert number is not None
            digest = compute_row_digest((number, added_at, added_by, *entry.to_columns()))
            writer.execute("UPDATE structures SET digest = ? WHERE number = ?", (digest, number))
            _insert_vector(writer, number, model, vector)
            _increment_generation(writer)
        return UserStructure(number, entry, added_at, added_by, vector)

    def store_vectors(self, vectors: Mapping[int, Vector], model: str) -> None:
        """Store vectors of existing structures computed with other weights; the generation does not change."""
        with self._file.write() as writer:
            for number, vector in vectors.items():
                if self._select(writer, "number", number, model):
                    _insert_vector(writer, number, model, vector)

    def remove(self, number: int) -> bool:
        """Remove a structure; return False if it does not exist."""
        with self._file.write() as writer:
            is_removed = writer.execute("DELETE FROM structures WHERE number = ?", (number,)).rowcount > 0
            if is_removed:
                _increment_generation(writer)
        return is_removed

    def find_damage(self) -> str | None:
        """Return a sentence about the first problem that `check` finds, or None."""
        try:
            self.check()
        except IndexUnavailableError as error:
            return str(error)
        return None

    def check(self) -> None:
        """Check the whole file, of which `read` checks only the rows that it returns.

        Raises:
            IndexDamagedError: it is damaged.
        """
        file = UserStructureFile(self._file.path)  # a connection of its own, so that no search waits
        try:
            with file.read() as opened:
                problem = None if opened is None else find_damage(opened[0])
        finally:
            file.close()
        if problem is not None:
            raise make_damage_error(self._file.path, problem)

    def _select(
        self, connection: sqlite3.Connection, column: str, value: object, model: str
    ) -> list[UserStructure]:
        """Return the structures with this number or id, with the vector of these weights."""
        digests = "structures.digest, vectors.digest" if has_digests(connection) else "NULL, NULL"
        rows = connection.execute(
            f"""
            SELECT vector, {digests}, structures.{STRUCTURE_COLUMNS} FROM structures
            LEFT JOIN vectors ON vectors.number = structures.number AND model = ?
            WHERE structures.{column} = ?
            """,
            (model, value),
        )
        return [self._make_structure(row, model, has_digests(connection)) for row in rows]

    def _make_structure(self, columns: Sequence[Any], model: str, is_digested: bool) -> UserStructure:
        vector, digest, vector_digest, *row = columns
        number, added_at, added_by, *entry = row
        is_sound = compute_row_digest(row) == digest and (
            vector is None or compute_row_digest((number, model, vector)) == vector_digest
        )
        if is_digested and not is_sound:
            raise make_damage_error(self._file.path, f"structure {number} differs from its digest")
        return UserStructure(
            number,
            Entry.from_columns(tuple(entry)),
            added_at,
            added_by,
            None if vector is None else np.frombuffer(vector, dtype="<f4"),
        )


def _read_generation(reader: sqlite3.Connection) -> int:
    (generation,) = reader.execute("SELECT generation FROM state").fetchone()
    return int(generation)


def _insert_vector(writer: sqlite3.Connection, number: int, model: str, vector: Vector) -> None:
    content = vector.astype("<f4").tobytes()
    row = (number, model, content)
    writer.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", (*row, compute_row_digest(row)))


def _increment_generation(writer: sqlite3.Connection) -> None:
    writer.execute("UPDATE state SET generation = generation + 1")
