"""Structures that were added while an index is served, read and written by any number of processes.

Rows are never changed, only made and deleted, and every change counts the generation up by one, so that a reader sees
with one query whether there is anything new. Vectors of several weights can stand beside each other.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.storage.catalog import ENTRY_COLUMNS, Entry, entry_of_values, entry_values
from index.storage.user_structure_file import UserStructureFile
from model.errors import IndexUnavailableError

Vector = NDArray[np.float32]
# A number of the file, and of the changes made to it; None where there is no file.
Generation = tuple[int, int] | None

_INSERT = f"""
INSERT INTO structures (added, added_by, {ENTRY_COLUMNS})
VALUES ({", ".join("?" * (3 + ENTRY_COLUMNS.count(",")))})
"""


@dataclass(frozen=True)
class UserStructure:
    """A structure that was added.

    Attributes:
        number: ascending in the order of addition, never given twice.
        entry: the crystal and what is known of it.
        added: when, UTC, ISO 8601.
        added_by: name of the key, or None.
        vector: (D,) of the weights that were asked for; None where they have not embedded it yet.
    """

    number: int
    entry: Entry
    added: str
    added_by: str | None = None
    vector: Vector | None = None


class UserStructures:
    """The added structures of one file; safe to use from several threads, not to be taken through a fork.

    Every method raises IndexUnavailableError where the file is damaged, of another kind or out of reach; those that
    write raise ReadOnlyError where it cannot be written.

    Args:
        path: of the file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._file = UserStructureFile(path)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def generation(self) -> Generation:
        """Changes whenever anything is added or removed, by whichever process, and when the file is replaced."""
        with self._file.reading() as opened:
            return None if opened is None else (opened[1], _generation(opened[0]))

    def numbers(self) -> tuple[Generation, list[int]]:
        """The generation, and the numbers of what there is then, ascending."""
        with self._file.reading() as opened:
            if opened is None:
                return None, []
            reader, file = opened
            # The generation first: what comes between the two queries is then read once more, never missed.
            generation = _generation(reader)
            found = reader.execute("SELECT number FROM structures ORDER BY number").fetchall()
            return (file, generation), [number for (number,) in found]

    def read(self, numbers: Iterable[int], model: str) -> list[UserStructure]:
        """Those of these that are there still, in this order, with the vectors of these weights."""
        with self._file.reading() as opened:
            if opened is None:
                return []
            return [each for number in numbers for each in _read(opened[0], "number", number, model)]

    def add(
        self, entry: Entry, vector: Vector, model: str, added: str, added_by: str | None
    ) -> UserStructure:
        """Add a structure, or find the one that has its id.

        Args:
            entry: of the structure.
            vector: (D,).
            model: digest of the weights that made it.
            added: when, UTC, ISO 8601.
            added_by: name of the key.

        Returns:
            What is in the file under this id now; on the disk when this returns.
        """
        with self._file.writing() as writer:
            there = _read(writer, "id", entry.id, model)
            if there:
                return there[0]
            number = writer.execute(_INSERT, (added, added_by, *entry_values(entry))).lastrowid
            assert number is not None
            _keep_vector(writer, number, model, vector)
            _count_up(writer)
        return UserStructure(number, entry, added, added_by, vector)

    def keep_vectors(self, vectors: Mapping[int, Vector], model: str) -> None:
        """Keep what other weights make of those that are there still; nothing new for a reader."""
        with self._file.writing() as writer:
            for number, vector in vectors.items():
                if _read(writer, "number", number, model):
                    _keep_vector(writer, number, model, vector)

    def remove(self, number: int) -> bool:
        """Remove a structure; False where it is not there."""
        with self._file.writing() as writer:
            is_gone = writer.execute("DELETE FROM structures WHERE number = ?", (number,)).rowcount > 0
            if is_gone:
                _count_up(writer)
        return is_gone

    def find_damage(self) -> str | None:
        """What SQLite's own check of the file finds, or None; also where there is none."""
        try:
            with self._file.reading() as opened:
                if opened is None:
                    return None
                (answer,) = opened[0].execute("PRAGMA integrity_check(1)").fetchone()
        except IndexUnavailableError as error:
            return str(error)
        return None if answer == "ok" else str(answer)


def _generation(reader: sqlite3.Connection) -> int:
    (generation,) = reader.execute("SELECT generation FROM state").fetchone()
    return int(generation)


def _read(connection: sqlite3.Connection, column: str, value: object, model: str) -> list[UserStructure]:
    found = connection.execute(
        f"""
        SELECT structures.number, added, added_by, vector, {ENTRY_COLUMNS} FROM structures
        LEFT JOIN vectors ON vectors.number = structures.number AND model = ?
        WHERE structures.{column} = ?
        """,
        (model, value),
    )
    return [
        UserStructure(
            number,
            entry_of_values(tuple(row)),
            added,
            added_by,
            None if vector is None else np.frombuffer(vector, dtype="<f4"),
        )
        for number, added, added_by, vector, *row in found
    ]


def _keep_vector(writer: sqlite3.Connection, number: int, model: str, vector: Vector) -> None:
    content = vector.astype("<f4").tobytes()
    writer.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", (number, model, content))


def _count_up(writer: sqlite3.Connection) -> None:
    writer.execute("UPDATE state SET generation = generation + 1")
