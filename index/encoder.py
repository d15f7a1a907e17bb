"""The interface of a model to the index: two towers that embed into one space."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.pattern.spots import Spots


class Encoder(Protocol):
    """Twin towers, such as `model.towers.encoder.Towers`."""

    @property
    def digest(self) -> str:
        """Digest of the weights, "sha256:...". Vectors of different weights must not be compared."""
        ...

    @property
    def dimension(self) -> int:
        """Length D of a vector."""
        ...

    @property
    def form(self) -> str:
        """Form of the structure tower, such as "physics"."""
        ...

    def check_integrity(self) -> Iterator[int]:
        """Compare the weights with their digests; yield the number of bytes of each piece.

        Raises:
            CheckpointError: a bit has changed.
        """
        ...

    def embed_crystals(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
        """Return (N, D) unit vectors, one row for each crystal."""
        ...

    def embed_spots(
        self, patterns: Sequence[Spots], voltage_kv: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """Return (N, D) unit vectors, one row for each pattern; without intensities only the geometry is used."""
        ...
