"""The SQLite file of the user structures: create it, open it, and translate its errors to domain errors.

The write-ahead log lets any number of processes on one machine read while one writes. A transaction is on the disk when
it has ended. The file is never deleted, and readers do not create it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic

from index.storage.catalog import ENTRY_SCHEMA
from index.storage.row_digests import LAYOUT, LAYOUT_WITHOUT_DIGESTS, add_digests, has_digests
from model.atomic_files import is_disk_full, sync_to_disk
from model.errors import IndexDamagedError, IndexUnavailableError, ReadOnlyError, StorageFullError

# "dd2d" in ASCII; identifies the file as one of this project, also to the `file` command.
_APPLICATION_ID = 0x64643264
# How long one writer waits for another; each locks the file for milliseconds.
_WAIT_S = 10.0
_SCHEMA = (
    f"""
    CREATE TABLE structures (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        added_at TEXT NOT NULL,
        added_by TEXT,
        {ENTRY_SCHEMA.strip()},
        digest BLOB
    ) STRICT
    """,
    """
    CREATE TABLE vectors (
        number INTEGER NOT NULL REFERENCES structures (number) ON DELETE CASCADE,
        model TEXT NOT NULL,
        vector BLOB NOT NULL,
        digest BLOB,
        PRIMARY KEY (number, model)
    ) STRICT
    """,
    "CREATE TABLE state (generation INTEGER NOT NULL) STRICT",
    "INSERT INTO state VALUES (0)",
    f"PRAGMA user_version = {LAYOUT}",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)
# One statement, which sees one state of the file: another process may be creating its tables.
_KIND = """
SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
FROM pragma_application_id, pragma_user_version
"""
_UNWRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
_UNREACHABLE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_IOERR", *_UNWRITABLE)
_FULL_MESSAGE = "The disk is full, so nothing was added or removed; retry when the operator has freed space."


class UserStructureFile:
    """Connections to the file; safe to use from several threads, not across a fork.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._reader: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._unwatched_status: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close_reader()

    def upgrade(self) -> None:
        """Add the digests of rows to a file of earlier software; one that cannot be written stays as it is.

        Raises:
            IndexUnavailableError: damaged, or a file of another kind.
        """
        with self.read() as opened:
            is_old = opened is not None and not has_digests(opened[0])
        if is_old:
            with suppress(ReadOnlyError, StorageFullError), self.write():
                pass

    @contextmanager
    def read(self) -> Iterator[tuple[sqlite3.Connection, int] | None]:
        """Yield a connection to the current file and a number that identifies it; None if there is no file.

        Raises:
            IndexUnavailableError: damaged, or a file of another kind.
        """
        with self._lock, _translate_errors(self.path, is_write=False):
            reader = self._open_reader()
            try:
                yield None if reader is None or self._identity is None else (reader, self._identity[1])
            except sqlite3.Error:
                self._close_reader()
                raise

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction, which is on disk when the block ends; create a missing file.

        Raises:
            ReadOnlyError: it is not writable.
            StorageFullError: the disk is full; nothing has changed.
            IndexUnavailableError: damaged, or a file of another kind.
        """
        with _translate_errors(self.path, is_write=True):
            is_new = not self.path.exists()
            if not os.access(self.path.parent, os.W_OK) or not (is_new or os.access(self.path, os.W_OK)):
                raise _make_read_only_error(self.path)
            # A connection for each change: opening costs little beside the flush to the disk, and threads share none.
            writer = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
            try:
                yield from _run_transaction(writer, self.path)
            finally:
                writer.close()
            if is_new:
                sync_to_disk(self.path.parent)  # SQLite flushes the file, not the folder that names it

    def _open_reader(self) -> sqlite3.Connection | None:
        """Return the connection to the file that is at the path now."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self._close_reader()
            return None
        # Without a log, a reader does not notice by itself that other processes have changed the file.
        is_changed = self._unwatched_status not in (None, _summarize(status))
        if self._identity != (status.st_dev, status.st_ino) or is_changed:
            self._close_reader()
            reader, is_watched = _connect_reader(self.path)
            try:
                has_schema = _check_kind(reader, self.path)
            except BaseException:
                reader.close()
                raise
            if not has_schema:  # another process is creating it
                reader.close()
                return None
            self._reader, self._identity = reader, (status.st_dev, status.st_ino)
            self._unwatched_status = None if is_watched else _summarize(status)
        return self._reader

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._identity = self._unwatched_status = None


def _run_transaction(writer: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    writer.execute("PRAGMA synchronous = FULL")
    writer.execute("PRAGMA foreign_keys = ON")
    _enable_write_ahead_log(writer)
    writer.execute("BEGIN IMMEDIATE")
    try:
        if not _check_kind(writer, path):
            for statement in _SCHEMA:
                writer.execute(statement)
        if not has_digests(writer):
            add_digests(writer)
        yield writer
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise
    # SQLite drops a damaged log without a word, and with it what was added; so it holds nothing for long.
    with suppress(sqlite3.Error):
        writer.execute("PRAGMA busy_timeout = 200")
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _enable_write_ahead_log(writer: sqlite3.Connection) -> None:
    """Enable the log, a setting of the file; of two processes that do so at once, one finds the file locked."""
    deadline = monotonic() + _WAIT_S
    while True:
        try:
            writer.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or monotonic() > deadline:
                raise
        else:
            return


def _summarize(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_size


def _connect_reader(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Return a read-only connection, and whether it sees changes; it does not where the folder is not writable."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    reader = _connect(address)
    try:
        reader.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as error:
        reader.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise
        if path.with_name(path.name + "-wal").exists() or os.access(path.parent, os.W_OK):
            raise
        # The last process that closed the file left no log, so the file is complete.
        return _connect(f"{address}&immutable=1"), False
    return reader, True


def _connect(address: str) -> sqlite3.Connection:
    # The lock of `UserStructureFile` guards the connection.
    return sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)


def _check_kind(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file contains user structures; False if it is empty.

    Raises:
        IndexUnavailableError: it is a file of another kind or layout.
    """
    application_id, layout, tables = connection.execute(_KIND).fetchone()
    if application_id == _APPLICATION_ID and layout in {LAYOUT, LAYOUT_WITHOUT_DIGESTS}:
        return True
    if application_id == _APPLICATION_ID:
        raise IndexUnavailableError(
            f"The user structures in {path} have layout {layout}, but this software reads layout {LAYOUT}; use the "
            "software that wrote them, or set DD2D_USER_STRUCTURES to another file."
        )
    if application_id or tables:
        raise IndexUnavailableError(
            f"{path} is a database of another kind; set DD2D_USER_STRUCTURES to a file reserved for user structures."
        )
    return False


@contextmanager
def _translate_errors(path: Path, *, is_write: bool) -> Iterator[None]:
    """Raise errors of SQLite and of the operating system as domain errors that state a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if is_write and (
            name in _FULL or (name.startswith("SQLITE_CANTOPEN") and _has_no_inodes(path.parent))
        ):
            raise StorageFullError(_FULL_MESSAGE) from error
        if is_write and name.startswith(_UNWRITABLE):
            raise _make_read_only_error(path) from error
        if name.startswith(_UNREACHABLE):
            raise IndexUnavailableError(
                f"The user structures in {path} cannot be accessed at the moment: {error}."
            ) from error
        raise make_damage_error(path, error) from error
    except UnicodeDecodeError as error:  # a text of the schema
        raise make_damage_error(path, error) from error
    except OSError as error:
        if is_write and is_disk_full(error):
            raise StorageFullError(_FULL_MESSAGE) from error
        raise IndexUnavailableError(
            f"The user structures in {path} cannot be accessed: {error.strerror}."
        ) from error


def _has_no_inodes(folder: Path) -> bool:
    """Return whether the file system can hold no further file; some have no limit and state 0 of 0."""
    status = os.statvfs(folder)
    return status.f_files > 0 and status.f_favail == 0


def make_damage_error(path: Path, reason: object) -> IndexDamagedError:
    """Return the error for a damaged file."""
    return IndexDamagedError(
        f"The user structures in {path.name} are damaged ({reason}); replace the file with a backup, or move it "
        "away to continue without them.",
        path,
    )


def _make_read_only_error(path: Path) -> ReadOnlyError:
    return ReadOnlyError(
        f"User structures cannot be added or removed because {path} is not writable; the operator can set "
        "DD2D_USER_STRUCTURES to a file in a writable folder."
    )
