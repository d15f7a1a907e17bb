"""The digests of the rows of the user structures, by which a changed bit is found."""

import hashlib
import sqlite3
from collections.abc import Sequence

from index.storage.catalog import ENTRY_COLUMNS

LAYOUT = 2
LAYOUT_WITHOUT_DIGESTS = 1

_ADD_DIGESTS = (
    "ALTER TABLE structures ADD COLUMN digest BLOB",
    "ALTER TABLE vectors ADD COLUMN digest BLOB",
    f"PRAGMA user_version = {LAYOUT}",
)
# The digested columns of each table, the key first.
STRUCTURE_COLUMNS = f"number, added_at, added_by, {ENTRY_COLUMNS}"
VECTOR_COLUMNS = "number, model, vector"
_DIGESTED = (("structures", STRUCTURE_COLUMNS), ("vectors", VECTOR_COLUMNS))


def has_digests(connection: sqlite3.Connection) -> bool:
    """Return whether the rows have digests, which earlier software did not store."""
    return bool(connection.execute("PRAGMA user_version").fetchone()[0] != LAYOUT_WITHOUT_DIGESTS)


def compute_row_digest(row: Sequence[object]) -> bytes:
    """Return the SHA-256 of the values of a row: numbers, texts, bytes and None."""
    return hashlib.sha256(ascii(tuple(row)).encode("ascii")).digest()


def find_damage(connection: sqlite3.Connection) -> str | None:
    """Return the first problem that SQLite's integrity check or the digests of the rows find, or None."""
    (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        return str(problem)
    if not has_digests(connection):
        return None
    for table, columns in _DIGESTED:
        for digest, *row in connection.execute(f"SELECT digest, {columns} FROM {table}"):
            if compute_row_digest(row) != digest:
                return f"row {row[0]} of {table} differs from its digest"
    return None


def add_digests(writer: sqlite3.Connection) -> None:
    """Add the digests to a file of earlier software, within a transaction.

    Raises:
        sqlite3.Error: it is damaged.
    """
    problem = find_damage(writer)
    if problem is not None:
        raise sqlite3.DatabaseError(problem)
    for statement in _ADD_DIGESTS:
        writer.execute(statement)
    for table, columns in _DIGESTED:
        for rowid, *row in writer.execute(f"SELECT rowid, {columns} FROM {table}").fetchall():
            writer.execute(f"UPDATE {table} SET digest = ? WHERE rowid = ?", (compute_row_digest(row), rowid))
