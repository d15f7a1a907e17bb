"""The SQLite file of added structures: made, opened, and its errors told as ours.

The write-ahead log lets any number of processes on one machine read while one writes; a transaction is on the disk when
it has ended. The file is never deleted, and no reader makes one.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic

from index.storage.catalog import ENTRY_SCHEMA
from model.errors import IndexUnavailableError, ReadOnlyError

# "dd2d" in ASCII: tells `file`, and us, whose database it is.
_APPLICATION = 0x64643264
_LAYOUT = 1
# How long one writer waits for another; each holds the file for milliseconds.
_PATIENCE_S = 10.0
_SCHEMA = (
    f"""
    CREATE TABLE structures (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        added TEXT NOT NULL,
        added_by TEXT,
        {ENTRY_SCHEMA.strip()}
    ) STRICT
    """,
    """
    CREATE TABLE vectors (
        number INTEGER NOT NULL REFERENCES structures (number) ON DELETE CASCADE,
        model TEXT NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (number, model)
    ) STRICT
    """,
    "CREATE TABLE state (generation INTEGER NOT NULL) STRICT",
    "INSERT INTO state VALUES (0)",
    f"PRAGMA user_version = {_LAYOUT}",
    f"PRAGMA application_id = {_APPLICATION}",
)
_UNWRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
_UNREACHABLE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_IOERR", *_UNWRITABLE)


class UserStructureFile:
    """Access to the file; safe to use from several threads, not to be taken through a fork.

    Args:
        path: of the file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._reader: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._unwatched: tuple[int, int] | None = None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._let_go()

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, int] | None]:
        """A connection to the file that lies there now, with a number of its own; None where there is none.

        Raises:
            IndexUnavailableError: damaged, or no such file.
        """
        with self._lock, _told(self.path, is_write=False):
            reader = self._opened()
            try:
                yield None if reader is None or self._identity is None else (reader, self._identity[1])
            except sqlite3.Error:
                self._let_go()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, on the disk when the block has ended; the file is made if it is not there.

        Raises:
            ReadOnlyError: it cannot be written.
            IndexUnavailableError: damaged, no such file, or the disk is full.
        """
        with _told(self.path, is_write=True):
            is_new = not self.path.exists()
            if not os.access(self.path.parent, os.W_OK) or not (is_new or os.access(self.path, os.W_OK)):
                raise _read_only(self.path)
            # One connection a change: opening costs little beside the flush to the disk, and no thread shares one.
            writer = sqlite3.connect(self.path, timeout=_PATIENCE_S, isolation_level=None)
            try:
                yield from _transaction(writer, self.path)
            finally:
                writer.close()
            if is_new:
                _flush_name(self.path)

    def _opened(self) -> sqlite3.Connection | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self._let_go()
            return None
        # A reader without a log does not see by itself that others have changed the file.
        changed = self._unwatched is not None and self._unwatched != _date_of(status)
        if self._identity != (status.st_dev, status.st_ino) or changed:
            self._let_go()
            reader, is_watched = _opened_to_read(self.path)
            try:
                is_ours = _is_ours(reader, self.path)
            except BaseException:
                reader.close()
                raise
            if not is_ours:  # somebody is making it
                reader.close()
                return None
            self._reader, self._identity = reader, (status.st_dev, status.st_ino)
            self._unwatched = None if is_watched else _date_of(status)
        return self._reader

    def _let_go(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._identity = self._unwatched = None


def _transaction(writer: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    writer.execute("PRAGMA synchronous = FULL")
    writer.execute("PRAGMA foreign_keys = ON")
    _use_log(writer)
    writer.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(writer, path):
            for statement in _SCHEMA:
                writer.execute(statement)
        yield writer
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise


def _use_log(writer: sqlite3.Connection) -> None:
    """Write ahead, which the file remembers; of two that make it at once one is told that it is locked."""
    deadline = monotonic() + _PATIENCE_S
    while True:
        try:
            writer.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or monotonic() > deadline:
                raise
        else:
            return


def _date_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_size


def _opened_to_read(path: Path) -> tuple[sqlite3.Connection, bool]:
    """A connection that cannot write, and whether it sees what others change: not where we cannot write the folder."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    reader = _connected(address)
    try:
        reader.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as error:
        reader.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise
        if path.with_name(path.name + "-wal").exists() or os.access(path.parent, os.W_OK):
            raise
        # Whoever closed it in good order left no log, so the file is all there is.
        return _connected(f"{address}&immutable=1"), False
    return reader, True


def _connected(address: str) -> sqlite3.Connection:
    # The lock of `UserStructureFile` guards it.
    return sqlite3.connect(
        address, uri=True, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
    )


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is one of added structures; False where nothing is in it yet.

    Raises:
        IndexUnavailableError: it is something else.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, layout) == (_APPLICATION, _LAYOUT):
        return True
    if application == _APPLICATION:
        raise IndexUnavailableError(
            f"the added structures in {path} have layout {layout}, this software reads {_LAYOUT}: use the "
            "software that wrote them, or set DD2D_USER_STRUCTURES to another file"
        )
    if application or tables:
        raise IndexUnavailableError(
            f"{path} is a database of something else: set DD2D_USER_STRUCTURES to a file for added structures alone"
        )
    return False


def _flush_name(path: Path) -> None:
    """SQLite flushes a file's content, not the folder in which a new one is named."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path, *, is_write: bool) -> Iterator[None]:
    """SQLite's errors and the system's as ours, which say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if is_write and name.startswith(_UNWRITABLE):
            raise _read_only(path) from error
        if name.startswith(_UNREACHABLE):
            raise IndexUnavailableError(
                f"the added structures in {path} cannot be reached now: {error}"
            ) from error
        raise IndexUnavailableError(
            f"the added structures in {path} are damaged ({error}): put a backup in the place of the file, or move "
            "it away to go on without them"
        ) from error
    except OSError as error:
        raise IndexUnavailableError(
            f"the added structures in {path} cannot be reached: {error.strerror}"
        ) from error


def _read_only(path: Path) -> ReadOnlyError:
    return ReadOnlyError(
        f"structures cannot be added or removed: {path} cannot be written; whoever runs the service can set "
        "DD2D_USER_STRUCTURES to a file in a folder that can"
    )
