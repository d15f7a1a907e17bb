"""A frame averaged over blocks of pixels, and the way between its coordinates and the frame's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Binned:
    """Block averages.

    Attributes:
        counts: (h, w) mean of each block; incomplete blocks at the right and lower edge are left out.
        factor: pixels along a block's side.
        shape: (H, W) of the frame.
    """

    counts: FloatImage
    factor: int
    shape: tuple[int, int]

    @classmethod
    def to_side(cls, counts: FloatImage, side: int) -> "Binned":
        """Bin so that the longer side has between `side` and twice as many blocks, if the frame has them."""
        height, width = counts.shape
        factor = max(1, max(height, width) // side)
        rows, columns = height // factor, width // factor
        # Whole rows first: they lie in one piece.
        across = counts[: rows * factor : factor].astype(np.float32)
        for dy in range(1, factor):
            across += counts[dy : rows * factor : factor]
        small = across[:, : columns * factor : factor].copy()
        for dx in range(1, factor):
            small += across[:, dx : columns * factor : factor]
        small /= factor**2
        return cls(small, factor, (height, width))

    def full_pixels(self, x: NDArray[np.number], y: NDArray[np.number]) -> NDArray[np.float64]:
        """(N, 2) frame pixels x, y of positions in blocks; the first pixel's middle is 0, 0."""
        blocks = np.column_stack([x, y]).astype(np.float64)
        pixels: NDArray[np.float64] = (blocks + 0.5) * self.factor - 0.5
        return pixels

    def full_point(self, at: tuple[float, float]) -> tuple[float, float]:
        """One position in frame pixels."""
        return (at[0] + 0.5) * self.factor - 0.5, (at[1] + 0.5) * self.factor - 0.5

    def binned_point(self, at: tuple[float, float]) -> tuple[float, float]:
        """One position in blocks."""
        return (at[0] + 0.5) / self.factor - 0.5, (at[1] + 0.5) / self.factor - 0.5

    def full_mask(self, mask: BoolImage) -> BoolImage:
        """(H, W) of a mask of blocks; True in the edges that no block covers."""
        whole = np.ones(self.shape, dtype=bool)
        large = mask.repeat(self.factor, axis=0).repeat(self.factor, axis=1)
        whole[: large.shape[0], : large.shape[1]] = large
        return whole
