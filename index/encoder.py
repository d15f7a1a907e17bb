"""What the index needs of a model: two towers into one space."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.pattern.spots import Spots


class Encoder(Protocol):
    """A twin tower; `model.towers.Towers` is one, the tests have another."""

    @property
    def digest(self) -> str:
        """Names the weights, "sha256:...". Vectors of different digests must never meet."""
        ...

    @property
    def dimension(self) -> int:
        """D, length of a vector."""
        ...

    @property
    def form(self) -> str:
        """Kind of the structure tower, such as "physics"."""
        ...

    def embed_crystals(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
        """(N, D) unit vectors, a row a crystal."""
        ...

    def embed_spots(
        self, patterns: Sequence[Spots], voltage_kv: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """(N, D) unit vectors, a row a pattern; patterns without intensities are placed by geometry alone.

        Args:
            patterns: the spots of each.
            voltage_kv: accelerating voltage of each.
        """
        ...
