"""An index that changes while it is served: structures come and go, and new versions take its place.

Several processes may hold the same index so; each sees what the others add before its next search, and a new version
within a second. What is searched is a snapshot, swapped as a whole: a search ends on the one that it began on.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index.encoder import Encoder
from index.live.current_version import CurrentVersion
from index.live.embedded_user_structures import EmbeddedUserStructures, vector_of
from index.live.new_user_structure import AddOutcome, NewUserStructure, refuse_another
from index.live.snapshot import OpenVersion, ServedVersion, Snapshot
from index.search.results import SearchResult
from index.search.retriever import Retriever
from index.storage.catalog import Entry
from index.storage.manifest import Manifest
from index.storage.publish import locate_user_structures
from index.storage.user_structures import UserStructures
from model.errors import ConflictError, IndexUnavailableError
from model.pattern.spots import Spots

logger = logging.getLogger(__name__)

WATCH_S = 1.0


class LiveIndex:
    """An index with the structures added to it, kept up with both; safe to use from several threads.

    Use `LiveIndex.open`; a process that is forked off must open its own.
    """

    def __init__(self, directory: Path, encoder: Encoder, added: Path) -> None:
        self._encoder = encoder
        self._additions = UserStructures(added)
        self._known = EmbeddedUserStructures(self._additions, encoder)
        self._current = CurrentVersion(directory, encoder)
        # Opening a version takes a while, in which structures can be added to the one that is served.
        self._opening, self._changing = Lock(), Lock()
        self._told = ""
        self._closed = Event()
        self._watcher: Thread | None = None
        version = self._current.first()
        self._snapshot = Snapshot(version, version.retriever, {}, None)

    @classmethod
    def open(
        cls, directory: Path, encoder: Encoder, added: Path | None = None, watch_s: float | None = WATCH_S
    ) -> Self:
        """Open the version in use, with what was added.

        Args:
            directory: an index, or one version of it.
            encoder: the weights that made it.
            added: file of the user structures; `user_structures.sqlite` in the index folder if None.
            watch_s: how often to look for a new version, in a thread; None for only when asked by `refresh`.

        Raises:
            IndexUnavailableError: index or file are missing, damaged, or made by other weights or software.
        """
        library = cls(directory, encoder, added or locate_user_structures(directory))
        try:
            library.refresh()
        except BaseException:
            library.close()
            raise
        if watch_s is not None:
            library._watch(watch_s)
        return library

    def close(self) -> None:
        """Let go of the files, as soon as the searches that run have ended."""
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._opening, self._changing:
            self._snapshot.version.retire()
            self._additions.close()

    @property
    def served(self) -> ServedVersion:
        """Version, manifest and number of added structures, all of one moment."""
        with self._held() as snapshot:
            return snapshot.served

    @property
    def manifest(self) -> Manifest:
        """Of the version that is searched; it does not count what was added."""
        return self.served.manifest

    @property
    def user_structure_count(self) -> int:
        """How many structures are searched beside the version's."""
        return self.served.user_structure_count

    @contextmanager
    def held(self) -> Iterator[Retriever]:
        """The library as it is now, for a request that asks several things of it and wants them to agree."""
        with self._held() as snapshot:
            yield snapshot.retriever

    def entry(self, id: str) -> Entry:
        """The crystal with this id.

        Raises:
            KeyError: there is none.
        """
        with self.held() as retriever:
            return retriever.entry(id)

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """(N, D) a vector a pattern, the same whatever is served."""
        return self._encoder.embed_spots(spots, voltage_kv)

    def search(self, spots: Spots, **asked: Any) -> SearchResult:
        """The crystals most like a pattern; see `Retriever.search`."""
        with self.held() as retriever:
            return retriever.search(spots, **asked)

    def refresh(self) -> bool:
        """Take up a new version or what was added or removed elsewhere; searches go on meanwhile.

        Returns:
            Whether there was anything new.

        Raises:
            IndexUnavailableError: what is new cannot be served; what was served still is.
        """
        has_new_version = self._take_version(again=True)
        return self._take_additions() or has_new_version

    def reload(self, version: str | None = None) -> ServedVersion:
        """Serve the version in use, or make another one that.

        Args:
            version: name of one that is in the index folder; None for the one in use.

        Raises:
            OptionError: there is no such version.
            ConflictError: it cannot be served; what was served still is.
        """
        try:
            if version is None:
                self.refresh()
            else:
                with self._opening:
                    chosen = self._current.choose(version, self._snapshot.version.name)
                    if chosen is not None:
                        self._swap(chosen)
        except IndexUnavailableError as error:
            told = f"{error}; the version {self._snapshot.version.name} is served as before"
            raise ConflictError(told) from error
        return self.served

    def add(self, submission: NewUserStructure) -> AddOutcome:
        """Add a structure; on the disk and searched when this returns.

        Raises:
            ConflictError: the id is that of another structure.
            ReadOnlyError: nothing can be written where the added structures lie.
            IndexUnavailableError: the file of the added structures is damaged or the disk full.
            CrystalError: no symmetry, or no vector, can be found for it.
        """
        crystal = submission.named()
        entry, is_new = self._entry_or_none(crystal.id), False
        if entry is None:
            new = submission.entry()
            vector = vector_of(crystal, self._encoder)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            kept = self._additions.add(new, vector, self._encoder.digest, now, submission.key_name)
            entry, is_new = kept.entry, kept.entry is new
            self._take_additions()
        # Also where somebody else's came first.
        refuse_another(entry, crystal)
        if is_new:
            logger.info("%r was added by %s", entry.id, submission.key_name or "nobody named")
        return AddOutcome(entry, self._same_as(entry.id), is_new)

    def remove(self, id: str) -> None:
        """Remove a structure that was added; searched no more when this returns.

        Raises:
            KeyError: there is none with this id.
            ConflictError: it is one of the index itself.
            ReadOnlyError: nothing can be written where the added structures lie.
            IndexUnavailableError: the file of the added structures is damaged or the disk full.
        """
        with self._held() as snapshot:
            number = snapshot.numbers.get(id)
            if number is None:
                source = snapshot.retriever.entry(id).source
                raise ConflictError(
                    f"{id!r} is one of the index itself (from {source}) and was not added to it; to be rid of it, "
                    "build an index without it and publish that"
                )
        if not self._additions.remove(number):
            raise KeyError(id)
        self._take_additions()
        logger.info("%r was removed", id)

    @contextmanager
    def _held(self) -> Iterator[Snapshot]:
        """The snapshot of now, whose files stay open for the block."""
        if self._closed.is_set():
            raise IndexUnavailableError("the library is closed")
        try:
            self._take_additions()
        except IndexUnavailableError as error:  # what is there can be searched all the same
            self._tell(str(error))
        while not (snapshot := self._snapshot).version.take():
            if self._closed.is_set():
                raise IndexUnavailableError("the library is closed")
        try:
            yield snapshot
        finally:
            snapshot.version.let_go()

    def _take_additions(self) -> bool:
        """See what was added or removed, which one query tells."""
        if self._additions.generation() == self._snapshot.generation:
            return False
        with self._changing:
            if self._additions.generation() == self._snapshot.generation:
                return False
            self._snapshot = self._with_additions(self._snapshot.version)
        self._told = ""
        return True

    def _take_version(self, *, again: bool) -> bool:
        """See whether another version is in use; one that was refused is tried again only where that is asked."""
        with self._opening:
            served = self._snapshot.version.name
            try:
                version = self._current.other_than(served, again=again)
                if version is not None:
                    self._swap(version)
            except IndexUnavailableError as error:
                self._tell(f"{error}; the version {served} is served as before")
                raise
            return version is not None

    def _swap(self, version: OpenVersion) -> None:
        try:
            with self._changing:
                generation, additions = self._known.now()
            # Compares every addition with the new version, milliseconds each; nobody has to wait for that.
            version.with_additions(additions, generation)
            with self._changing:
                before = self._snapshot.version
                self._snapshot = self._with_additions(version)
        except BaseException:
            version.retire()
            self._current.refused()
            raise
        before.retire()
        logger.info("version %s is served, %s no more", version.name, before.name)

    def _with_additions(self, version: OpenVersion) -> Snapshot:
        generation, additions = self._known.now()
        return version.with_additions(additions, generation)

    def _entry_or_none(self, id: str) -> Entry | None:
        try:
            return self.entry(id)
        except KeyError:
            return None

    def _same_as(self, id: str) -> tuple[str, ...]:
        try:
            with self.held() as retriever:
                return retriever.same_as(id)
        except KeyError:  # removed again by somebody else
            return ()

    def _watch(self, seconds: float) -> None:
        def look() -> None:
            while not self._closed.wait(seconds):
                try:
                    self._take_version(again=False)
                except IndexUnavailableError:
                    pass  # it was told
                except Exception:
                    logger.exception("looking for a new version failed")

        self._watcher = Thread(target=look, name="dd2d-versions", daemon=True)
        self._watcher.start()

    def _tell(self, message: str) -> None:
        """In the log, once."""
        if message != self._told:
            logger.error("%s", message)
            self._told = message
