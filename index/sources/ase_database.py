"""ASE databases in SQLite. C2DB is one; it names its crystals by the key `uid`."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from index.sources.record import LICENSE_KEYS, CellRecord, Record, RejectedEntry, encode_text
from model.errors import UnreadableError

SQLITE_MAGIC = b"SQLite format 3\x00"


def read_ase_database(path: Path, name: str, source: str) -> Iterator[Record | RejectedEntry]:
    """Yield the structures row by row.

    Args:
        path: the database.
        name: what reports call it.
        source: name of the source.

    Raises:
        UnreadableError: not an ASE database, or damaged.
    """
    from ase.db import connect

    row_ids = _read_row_ids(path)
    with connect(path, type="db", use_lock_file=False) as database:  # type: ignore[no-untyped-call]
        for row_id in row_ids:
            try:
                yield _make_record(database.get(id=row_id), row_id, source)
            except Exception as error:  # ASE decodes binary columns, and any exception may result
                yield RejectedEntry(
                    f"{name}[{row_id}]", f"The row is damaged: {type(error).__name__} {error}."
                )


def _read_row_ids(path: Path) -> list[int]:
    """Return the ids of all rows, without ASE, which would add its tables to a database that has none."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return [int(row) for (row,) in connection.execute("SELECT id FROM systems ORDER BY id")]
    except sqlite3.Error as error:
        raise UnreadableError(f"The SQLite file is not an ASE database: {error}.") from error
    finally:
        connection.close()


def _make_record(row: Any, row_id: int, source: str) -> CellRecord:
    keys = row.key_value_pairs
    license = next((keys[key] for key in LICENSE_KEYS if key in keys), None)
    return CellRecord(
        id=encode_text(keys.get("uid") or row_id),
        source=source,
        lattice=row.cell,
        species=row.numbers.tolist(),
        coordinates=row.positions,
        is_cartesian=True,
        license=None if license is None else encode_text(license),
    )
