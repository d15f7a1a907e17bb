"""The current version of an index folder, as seen by a process that serves the index."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from index.encoder import Encoder
from index.live.snapshot import OpenVersion
from index.search.retriever import Retriever
from index.storage.layout import CURRENT_NAME, MANIFEST_NAME
from index.storage.publish import make_current
from index.storage.versions import find_version, find_version_folder, read_history
from model.errors import DomainError, IndexUnavailableError, OptionError, ReadOnlyError

T = TypeVar("T")

logger = logging.getLogger(__name__)


class VersionFollower:
    """Opens the current version of an index folder whenever it changes. Not thread-safe.

    Args:
        directory: an index, or one version of it, which then never changes.
        encoder: the weights that made it.
    """

    def __init__(self, directory: Path, encoder: Encoder) -> None:
        self._directory = directory
        self._encoder = encoder
        self._seen: object = None
        self._was_refused = False

    def open_current(self) -> OpenVersion:
        """Open the current version; IndexUnavailableError if it cannot be served."""
        self._seen = self._read_current_status()
        return self._try_current(self._open)

    def open_if_changed(self, served: str, *, retry_refused: bool) -> OpenVersion | None:
        """Open the current version, unless it is already served.

        Args:
            served: name of the version that is served.
            retry_refused: whether to try a version again that was refused before.

        Raises:
            IndexUnavailableError: missing, damaged, or built with other weights.
        """
        status = self._read_current_status()
        if status == self._seen and not (retry_refused and self._was_refused):
            return None
        self._seen, self._was_refused = status, True
        version = self._try_current(lambda folder: None if folder.name == served else self._open(folder))
        self._was_refused = False
        return version

    def mark_refused(self) -> None:
        """Record that the version opened last cannot be served; `open_if_changed` may try it again."""
        self._was_refused = True

    def switch_to(self, name: str, served: str) -> OpenVersion | None:
        """Open a version and make it the current one; None if it is already served.

        Args:
            name: of the version.
            served: name of the version that is served.

        Raises:
            OptionError: there is no such version.
            ReadOnlyError: the index folder is not writable.
            StorageFullError: the disk is full.
            IndexUnavailableError: missing, damaged, or built with other weights.
        """
        if (self._directory / MANIFEST_NAME).is_file():
            raise OptionError(
                "The service was started with a single version of an index and cannot switch to another; start it "
                "with the index folder."
            )
        version = find_version(self._directory, name)
        opened = None if name == served else self._open(version.folder)
        try:
            if read_history(self._directory)[:1] != [name]:
                make_current(self._directory, name, is_rollback=True)
        except (OSError, DomainError) as error:
            if opened is not None:
                opened.retire()
            if isinstance(error, DomainError):
                raise
            raise ReadOnlyError(
                f"The version cannot be changed because the index folder {self._directory} is not writable "
                f"({error.strerror})."
            ) from error
        self._seen, self._was_refused = self._read_current_status(), False
        return opened

    def _try_current(self, open_folder: Callable[[Path], T]) -> T:
        """Open the current version, or the next one if that is published and this one removed meanwhile."""
        while True:
            folder = find_version_folder(self._directory)
            try:
                return open_folder(folder)
            except (IndexUnavailableError, OSError) as error:
                if find_version_folder(self._directory) != folder:
                    continue
                if isinstance(error, OSError):
                    message = f"The index version {folder.name} cannot be read: {error.strerror}."
                    raise IndexUnavailableError(message) from error
                raise

    def _open(self, folder: Path) -> OpenVersion:
        return OpenVersion(folder.name, Retriever.open(folder, self._encoder))

    def _read_current_status(self) -> object:
        """Return a value that changes whenever CURRENT is replaced, because that is a new file each time."""
        try:
            status = os.stat(self._directory / CURRENT_NAME)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def start_watching(update: Callable[..., bool], closed: Event, interval_s: float) -> Thread:
    """Return a thread that takes up new versions until `closed` is set.

    Args:
        update: takes up the current version if it is another one; logs why it cannot.
        closed: ends the thread.
        interval_s: time between looks.
    """

    def watch() -> None:
        while not closed.wait(interval_s):
            try:
                update(retry_refused=False)
            except IndexUnavailableError:
                pass  # logged already
            except Exception:
                logger.exception("Could not check for a new version of the index.")

    watcher = Thread(target=watch, name="dd2d-versions", daemon=True)
    watcher.start()
    return watcher
