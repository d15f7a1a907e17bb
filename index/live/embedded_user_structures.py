"""The user structures known to this process, each with a vector computed with the weights of this process."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from index.encoder import Encoder
from index.live.new_user_structure import NewUserStructure
from index.storage.catalog import Entry
from index.storage.user_structures import Generation, UserStructure, UserStructures, Vector
from index.storage.vectors import find_unit_rows
from model.crystal.crystal import Crystal
from model.errors import (
    CrystalError,
    DomainError,
    IndexDamagedError,
    IndexUnavailableError,
    ReadOnlyError,
    StorageFullError,
)

logger = logging.getLogger(__name__)


class EmbeddedUserStructures:
    """Reads and embeds new user structures. Not thread-safe.

    Args:
        user_structures: the file.
        encoder: makes the vectors.
    """

    def __init__(self, user_structures: UserStructures, encoder: Encoder) -> None:
        self._user_structures = user_structures
        self._encoder = encoder
        # With their digests in memory. The dictionary is replaced, never changed: the scrub reads it in another thread.
        self._known: dict[int, tuple[UserStructure, bytes]] = {}
        self._file: int | None = None

    def read(self) -> tuple[Generation, list[UserStructure]]:
        """Return the generation of the file and all its structures in order, with their vectors.

        Raises:
            IndexUnavailableError: the file is damaged, or of another kind.
        """
        generation, numbers = self._user_structures.read_numbers()
        file = None if generation is None else generation[0]
        if file != self._file:
            self._known, self._file = {}, file
        unknown = [number for number in numbers if number not in self._known]
        structures = self._embed_missing(self._user_structures.read(unknown, self._encoder.digest))
        new = {structure.number: (structure, structure.compute_digest()) for structure in structures}
        known = self._known | new
        self._known = {number: known[number] for number in numbers if number in known}
        return generation, [structure for structure, _ in self._known.values()]

    def add(self, structure: NewUserStructure) -> tuple[Entry, bool]:
        """Embed a structure and write it to the disk; safe to call from several threads.

        Returns:
            The entry with this id, and whether it is new.

        Raises:
            DomainError: as `LiveIndex.add`.
        """
        entry = structure.make_entry()
        vector = embed_crystal(entry.crystal, self._encoder)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stored = self._user_structures.add(entry, vector, self._encoder.digest, now, structure.key_name)
        return stored.entry, stored.entry is entry

    def check_integrity(self) -> Iterator[int]:
        """Check the file, and compare the structures in memory with their digests; yield a number after each.

        Raises:
            IndexDamagedError: file or memory are damaged.
            IndexUnavailableError: the file cannot be read at the moment.
        """
        self._user_structures.check()
        for structure, digest in self._known.values():
            yield 1
            if structure.compute_digest() != digest:
                raise IndexDamagedError(
                    f"The user structure {structure.entry.id} has changed in memory; if this recurs, test the memory."
                )

    def _embed_missing(self, structures: Sequence[UserStructure]) -> list[UserStructure]:
        """Embed the structures that only other weights have embedded so far, and store the vectors."""
        vectors = {
            structure.number: self._embed_or_zero(structure)
            for structure in structures
            if structure.vector is None
        }
        if not vectors:
            return list(structures)
        try:
            self._user_structures.store_vectors(vectors, self._encoder.digest)
        except (IndexUnavailableError, ReadOnlyError, StorageFullError) as error:
            logger.warning("User structures will be embedded again at the next start. %s", error)
        return [
            replace(structure, vector=vectors[structure.number]) if structure.vector is None else structure
            for structure in structures
        ]

    def _embed_or_zero(self, structure: UserStructure) -> Vector:
        """Embed a structure; one that these weights cannot embed gets zeros and is found by its lattice alone."""
        try:
            return embed_crystal(structure.entry.crystal, self._encoder)
        except DomainError as error:
            logger.warning("These weights cannot embed the user structure %s. %s", structure.entry.id, error)
            return np.zeros(self._encoder.dimension, dtype=np.float32)


def embed_crystal(crystal: Crystal, encoder: Encoder) -> Vector:
    """Return the (D,) vector of one crystal.

    Raises:
        CrystalError: it is not a unit vector.
    """
    vectors = np.asarray(encoder.embed_crystals([crystal]), dtype=np.float32)
    if not find_unit_rows(vectors).all():
        raise CrystalError(
            "The model's vector for this structure is not a unit vector; check for atoms that are too close."
        )
    return np.asarray(vectors[0])
