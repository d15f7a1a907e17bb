"""An index that changes while it is served: user structures are added and removed, and new versions replace old ones.

Several processes may serve the same index. Each sees what another adds before its next search, and a new version within
a second. A search runs on a snapshot, which is replaced as a whole; it ends on the snapshot on which it began.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index.encoder import Encoder
from index.live.embedded_user_structures import EmbeddedUserStructures
from index.live.new_user_structure import AddOutcome, NewUserStructure, check_identical
from index.live.snapshot import OpenVersion, ServedVersion, Snapshot
from index.live.version_follower import VersionFollower, start_watching
from index.search.results import SearchResult
from index.search.retriever import Retriever
from index.storage.catalog import Entry
from index.storage.manifest import Manifest
from index.storage.user_structures import UserStructures
from index.storage.versions import locate_user_structures
from model.errors import CheckpointError, ConflictError, IndexDamagedError, IndexUnavailableError
from model.pattern.spots import Spots

logger = logging.getLogger(__name__)

WATCH_S = 1.0


class LiveIndex:
    """An index with its user structures, kept up to date; safe to use from several threads.

    Use `LiveIndex.open`; a forked process must open its own.

    Attributes:
        is_stale: whether the file of the user structures could not be read when it was last looked at.
    """

    def __init__(self, directory: Path, encoder: Encoder, user_structures: Path) -> None:
        self._encoder = encoder
        self._user_structures = UserStructures(user_structures)
        self._embedded = EmbeddedUserStructures(self._user_structures, encoder)
        self._follower = VersionFollower(directory, encoder)
        # Opening a version takes a while; meanwhile structures can be added to the one that is served.
        self._version_lock, self._snapshot_lock = Lock(), Lock()
        self._last_message = ""
        self.is_stale = False
        self._damage: CheckpointError | IndexDamagedError | None = None
        self._closed = Event()
        self._watcher: Thread | None = None
        version = self._follower.open_current()
        self._snapshot = Snapshot(version, version.retriever, {}, None)

    @classmethod
    def open(
        cls,
        directory: Path,
        encoder: Encoder,
        user_structures: Path | None = None,
        watch_s: float | None = WATCH_S,
    ) -> Self:
        """Open the current version of an index, with its user structures.

        Args:
            directory: an index, or one version of it.
            encoder: the weights that made it.
            user_structures: file of the user structures, created with the first of them; by default
                `user_structures.sqlite` in the index folder.
            watch_s: seconds between looks for a new version; None looks only in `refresh`.

        Raises:
            IndexUnavailableError: index or file are missing, damaged, or made with other weights or software.
        """
        index = cls(directory, encoder, user_structures or locate_user_structures(directory))
        try:
            index._user_structures.upgrade()
            index._user_structures.check()
            index.refresh()
        except BaseException:
            index.close()
            raise
        if watch_s is not None:
            index._watcher = start_watching(index._update_version, index._closed, watch_s)
        return index

    def close(self) -> None:
        """Close the files as soon as the running searches have finished."""
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._version_lock, self._snapshot_lock:
            self._snapshot.version.retire()
            self._user_structures.close()

    @property
    def served(self) -> ServedVersion:
        """Version, manifest and number of user structures, all at one moment."""
        with self._hold_snapshot() as snapshot:
            return snapshot.served

    @property
    def manifest(self) -> Manifest:
        """Manifest of the version that is searched; it does not include user structures."""
        return self.served.manifest

    @property
    def user_structure_count(self) -> int:
        """Number of user structures that are searched."""
        return self.served.user_structure_count

    @contextmanager
    def hold(self) -> Iterator[Retriever]:
        """Yield the current state of the index, for a request that needs several consistent answers."""
        with self._hold_snapshot() as snapshot:
            yield snapshot.retriever

    def get_entry(self, id: str) -> Entry:
        """Return the crystal with this id; KeyError if there is none."""
        with self.hold() as retriever:
            return retriever.get_entry(id)

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """Return (P, D) vectors, one for each of P patterns; they do not depend on the version."""
        return self._encoder.embed_spots(spots, voltage_kv)

    def search(self, spots: Spots, **options: Any) -> SearchResult:
        """Return the crystals that may have produced a pattern; see `Retriever.search`."""
        with self.hold() as retriever:
            return retriever.search(spots, **options)

    def check_canary(self) -> None:
        """Compare the answer to the canary pattern with the one of the build; IndexDamagedError if they differ."""
        with self.hold() as retriever:
            retriever.check_canary()

    def check_integrity(self) -> Iterator[int]:
        """Compare weights, files and memory with their digests, and the canary; yield the bytes of each piece read.

        CheckpointError means damaged weights, IndexDamagedError anything else that is damaged. Then nothing is searched
        any more: every use raises the same error.
        """
        try:
            yield from self._encoder.check_integrity()
            with self._hold_snapshot() as snapshot:
                yield from snapshot.check_integrity()
            yield from self._embedded.check_integrity()
        except (CheckpointError, IndexDamagedError) as error:
            self._damage = error
            raise

    def refresh(self) -> bool:
        """Load a new version and the changes made by other processes; searches continue meanwhile.

        Returns:
            Whether anything was new.

        Raises:
            IndexUnavailableError: the new version cannot be served; the old one still is.
        """
        has_new_version = self._update_version(retry_refused=True)
        return self._update_user_structures() or has_new_version

    def reload(self, version: str | None = None) -> ServedVersion:
        """Serve the current version, or make another version current and serve it.

        Args:
            version: name of a version in the index folder; None for the current one.

        Raises:
            OptionError: there is no such version.
            ConflictError: it cannot be served; the old one still is.
        """
        try:
            if version is None:
                self.refresh()
            else:
                with self._version_lock:
                    opened = self._follower.switch_to(version, self._snapshot.version.name)
                    if opened is not None:
                        self._serve(opened)
        except IndexUnavailableError as error:
            raise ConflictError(self._log_refusal(error)) from error
        return self.served

    def add(self, structure: NewUserStructure) -> AddOutcome:
        """Add a structure; when this returns, it is on disk and included in searches.

        Raises:
            ConflictError: the id belongs to another structure.
            ReadOnlyError: the file of the user structures is not writable.
            StorageFullError: the disk is full; nothing has changed.
            IndexUnavailableError: that file is damaged.
            CrystalError: spglib finds no symmetry, or the model makes no vector.
        """
        crystal = structure.make_crystal()
        entry, is_new = None, False
        with suppress(KeyError):
            entry = self.get_entry(crystal.id)
        if entry is None:
            entry, is_new = self._embedded.add(structure)
            self._update_user_structures()
        # Another process may have been first.
        check_identical(entry, crystal)
        if is_new:
            logger.info("%r was added by %s.", entry.id, structure.key_name or "a client without a key")
        duplicates: tuple[str, ...] = ()
        with suppress(KeyError), self.hold() as retriever:  # another process may have removed it
            duplicates = retriever.list_duplicates(entry.id)
        return AddOutcome(entry, duplicates, is_new)

    def remove(self, id: str) -> None:
        """Remove a user structure; when this returns, it is no longer searched.

        Raises:
            KeyError: no crystal has this id.
            ConflictError: the crystal belongs to the index itself.
            ReadOnlyError: the file of the user structures is not writable.
            StorageFullError: the disk is full; nothing has changed.
            IndexUnavailableError: that file is damaged.
        """
        with self._hold_snapshot() as snapshot:
            number = snapshot.numbers.get(id)
            if number is None:
                source = snapshot.retriever.get_entry(id).source
                raise ConflictError(
                    f"{id!r} belongs to the index itself (source {source}) and is not a user structure; to remove it, "
                    "build an index without it and publish that."
                )
        if not self._user_structures.remove(number):
            raise KeyError(id)
        self._update_user_structures()
        logger.info("%r was removed.", id)

    @contextmanager
    def _hold_snapshot(self) -> Iterator[Snapshot]:
        """Yield the present snapshot, whose files stay open for the block."""
        if self._closed.is_set():
            raise IndexUnavailableError("The index is closed.")
        if self._damage is not None:
            raise type(self._damage)(str(self._damage))
        try:
            self._update_user_structures()
            self.is_stale = False
        except IndexUnavailableError as error:  # the present snapshot can still be searched
            self.is_stale = True
            self._log_once(error.log_text)
        while not (snapshot := self._snapshot).version.acquire():
            if self._closed.is_set():
                raise IndexUnavailableError("The index is closed.")
        try:
            yield snapshot
        finally:
            snapshot.version.release()

    def _update_user_structures(self) -> bool:
        """Load what was added or removed; one query shows whether anything was."""
        if self._user_structures.read_generation() == self._snapshot.generation:
            return False
        with self._snapshot_lock:
            if self._user_structures.read_generation() == self._snapshot.generation:
                return False
            self._snapshot = self._build_snapshot(self._snapshot.version)
        self._last_message = ""
        return True

    def _update_version(self, *, retry_refused: bool) -> bool:
        """Load the current version if it is another one."""
        with self._version_lock:
            try:
                version = self._follower.open_if_changed(
                    self._snapshot.version.name, retry_refused=retry_refused
                )
                if version is not None:
                    self._serve(version)
            except IndexUnavailableError as error:
                self._log_refusal(error)
                raise
            return version is not None

    def _serve(self, version: OpenVersion) -> None:
        try:
            with self._snapshot_lock:
                generation, structures = self._embedded.read()
            # Compares every user structure with the new version, milliseconds each, before any search has to wait.
            version.make_snapshot(structures, generation)
            with self._snapshot_lock:
                old_version = self._snapshot.version
                self._snapshot = self._build_snapshot(version)
        except BaseException:
            version.retire()
            self._follower.mark_refused()
            raise
        old_version.retire()
        logger.info("Version %s is now served instead of %s.", version.name, old_version.name)

    def _build_snapshot(self, version: OpenVersion) -> Snapshot:
        generation, structures = self._embedded.read()
        return version.make_snapshot(structures, generation)

    def _log_refusal(self, error: IndexUnavailableError) -> str:
        """Log why a version is not served, and return what a client may read of it."""
        served = f"Version {self._snapshot.version.name} is still served."
        self._log_once(f"{error.log_text} {served}")
        return f"{error} {served}"

    def _log_once(self, message: str) -> None:
        if message != self._last_message:
            logger.error("%s", message)
            self._last_message = message
