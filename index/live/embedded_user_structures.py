"""The added structures as this process knows them, each with the vector that its own weights make of it."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from index.encoder import Encoder
from index.storage.user_structures import Generation, UserStructure, UserStructures, Vector
from model.crystal.crystal import Crystal
from model.errors import CrystalError, DomainError, IndexUnavailableError

logger = logging.getLogger(__name__)


class EmbeddedUserStructures:
    """Reads only what is new. Not safe for use from several threads.

    Args:
        additions: the file.
        encoder: whose vectors are wanted.
    """

    def __init__(self, additions: UserStructures, encoder: Encoder) -> None:
        self._additions = additions
        self._encoder = encoder
        self._known: dict[int, UserStructure] = {}
        self._file: int | None = None

    def now(self) -> tuple[Generation, list[UserStructure]]:
        """The generation, and all there is then, in order, each with its vector.

        Raises:
            IndexUnavailableError: the file is damaged, or no such file.
        """
        generation, numbers = self._additions.numbers()
        file = None if generation is None else generation[0]
        if file != self._file:
            self._known, self._file = {}, file
        fresh = [number for number in numbers if number not in self._known]
        read = {
            each.number: each for each in self._embedded(self._additions.read(fresh, self._encoder.digest))
        }
        self._known = {n: each for n in numbers if (each := self._known.get(n) or read.get(n)) is not None}
        return generation, list(self._known.values())

    def _embedded(self, additions: Sequence[UserStructure]) -> list[UserStructure]:
        """With vectors; what other weights have embedded is embedded again, and the vectors are kept."""
        vectors = {each.number: self._vector_or_nothing(each) for each in additions if each.vector is None}
        if not vectors:
            return list(additions)
        try:
            self._additions.keep_vectors(vectors, self._encoder.digest)
        except IndexUnavailableError as error:
            logger.warning("added structures will be embedded again at the next start: %s", error)
        return [
            replace(each, vector=vectors[each.number]) if each.vector is None else each for each in additions
        ]

    def _vector_or_nothing(self, addition: UserStructure) -> Vector:
        """A structure that these weights cannot embed is still there, and found by its lattice."""
        try:
            return vector_of(addition.entry.crystal, self._encoder)
        except DomainError as error:
            logger.warning("%s cannot be embedded by these weights: %s", addition.entry.id, error)
            return np.zeros(self._encoder.dimension, dtype=np.float32)


def vector_of(crystal: Crystal, encoder: Encoder) -> Vector:
    """(D,) the vector of one crystal.

    Raises:
        CrystalError: the model makes none of it.
    """
    (vector,) = encoder.embed_crystals([crystal])
    if not np.isfinite(vector).all():
        raise CrystalError("the model makes no vector of this structure; look for atoms that lie too near")
    return np.asarray(vector, dtype=np.float32)
