"""Which version of an index folder is in use, seen from a process that serves one."""

from collections.abc import Callable
from os import stat
from pathlib import Path
from typing import TypeVar

from index.encoder import Encoder
from index.live.snapshot import OpenVersion
from index.search.retriever import Retriever
from index.storage.layout import CURRENT_NAME, MANIFEST_NAME
from index.storage.manifest import Manifest
from index.storage.publish import history, make_current, version_folder
from index.storage.versions import check_version, named_version
from model.errors import IndexUnavailableError, OptionError, ReadOnlyError

Opened = TypeVar("Opened", OpenVersion, OpenVersion | None)


class CurrentVersion:
    """Follows an index folder. Not safe for use from several threads.

    Args:
        directory: an index, or one version of it, which never changes then.
        encoder: the weights that have to have made it.
    """

    def __init__(self, directory: Path, encoder: Encoder) -> None:
        self._directory = directory
        self._encoder = encoder
        self._mark: object = None
        self._was_refused = False

    def first(self) -> OpenVersion:
        """The version in use, opened as `Retriever.open` does.

        Raises:
            IndexUnavailableError: missing, damaged, or made by other weights.
        """
        self._mark = self._current_mark()
        return self._in_use(self._opened_as_it_is)

    def other_than(self, name: str, *, again: bool) -> OpenVersion | None:
        """The version in use, opened and compared with its digests, where it is not this one.

        Args:
            name: of the version that is served.
            again: whether one that was refused before is tried again.

        Raises:
            IndexUnavailableError: missing, damaged, or made by other weights.
        """
        mark = self._current_mark()
        if mark == self._mark and not (again and self._was_refused):
            return None
        self._mark, self._was_refused = mark, True
        opened = self._in_use(lambda folder: None if folder.name == name else self._opened(folder))
        self._was_refused = False
        return opened

    def refused(self) -> None:
        """What was opened last cannot be served after all; `other_than` tries it again where that is asked."""
        self._was_refused = True

    def choose(self, name: str, served: str) -> OpenVersion | None:
        """Make a version the one in use once it has been opened; None where it is the one that is served.

        Args:
            name: of the version.
            served: name of the version that is served.

        Raises:
            OptionError: there is no such version.
            ReadOnlyError: the index folder cannot be written.
            IndexUnavailableError: missing, damaged, or made by other weights.
        """
        if (self._directory / MANIFEST_NAME).is_file():
            raise OptionError("the service was started with one version of an index, and can go to no other")
        folder = named_version(self._directory, name)
        opened = None if name == served else self._opened(folder)
        try:
            if history(self._directory)[:1] != [name]:
                make_current(self._directory, name, goes_back=True)
        except (OSError, IndexUnavailableError) as error:
            if opened is not None:
                opened.retire()
            if isinstance(error, IndexUnavailableError):
                raise
            raise ReadOnlyError(
                f"no version can be chosen: the index folder {self._directory} cannot be written ({error.strerror})"
            ) from error
        self._mark, self._was_refused = self._current_mark(), False
        return opened

    def _in_use(self, opened: Callable[[Path], Opened]) -> Opened:
        """What is made of the version in use; of the next one, where that comes meanwhile and this one is removed."""
        while True:
            folder = version_folder(self._directory)
            try:
                return opened(folder)
            except (IndexUnavailableError, OSError) as error:
                if version_folder(self._directory) != folder:
                    continue
                if isinstance(error, OSError):
                    told = f"the index in {folder} cannot be read: {error.strerror}"
                    raise IndexUnavailableError(told) from error
                raise

    def _opened_as_it_is(self, folder: Path) -> OpenVersion:
        return OpenVersion(folder.name, Retriever.open(folder, self._encoder))

    def _opened(self, folder: Path) -> OpenVersion:
        check_version(folder, Manifest.read(folder), folder)
        return self._opened_as_it_is(folder)

    def _current_mark(self) -> object:
        """Another whenever CURRENT was written: each time that is a new file."""
        try:
            status = stat(self._directory / CURRENT_NAME)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
