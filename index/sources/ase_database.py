"""ASE databases (SQLite); C2DB is one, and names its crystals by the key `uid`."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from index.sources.record import CellRecord, Record, RejectedEntry, plain_text
from model.errors import UnreadableError

SQLITE_MAGIC = b"SQLite format 3\x00"
_LICENSE_KEYS = ("licence", "license")


def ase_database_records(path: Path, name: str, source: str) -> Iterator[Record | RejectedEntry]:
    """The structures, row by row.

    Args:
        path: the database.
        name: what to call it in reports.
        source: name of the source.

    Raises:
        UnreadableError: no ASE database, or damaged.
    """
    from ase.db import connect

    row_ids = _row_ids(path)
    with connect(path, type="db", use_lock_file=False) as database:  # type: ignore[no-untyped-call]
        for row_id in row_ids:
            try:
                yield _record(database.get(id=row_id), row_id, source)
            except Exception as error:  # ASE decodes binary columns and lets any exception through
                yield RejectedEntry(
                    f"{name}[{row_id}]", f"the row is damaged: {type(error).__name__} {error}"
                )


def _row_ids(path: Path) -> list[int]:
    """Looked up here first: ASE would add its tables to a database that has none."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return [int(row) for (row,) in connection.execute("SELECT id FROM systems ORDER BY id")]
    except sqlite3.Error as error:
        raise UnreadableError(f"a SQLite file, but no ASE database: {error}") from error
    finally:
        connection.close()


def _record(row: Any, row_id: int, source: str) -> CellRecord:
    keys = row.key_value_pairs
    license = next((keys[key] for key in _LICENSE_KEYS if key in keys), None)
    return CellRecord(
        id=plain_text(keys.get("uid") or row_id),
        source=source,
        lattice=row.cell,
        species=row.numbers.tolist(),
        coordinates=row.positions,
        cartesian=True,
        license=None if license is None else plain_text(license),
    )
