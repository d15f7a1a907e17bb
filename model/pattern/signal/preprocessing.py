"""Preparation of a frame for detection: hot pixels, range of the counts, and binning."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.pattern.frame import Frame

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

# A spot of the smallest width (standard deviation 0.6 pixels) has a quarter of its height in the next pixel.
_MAX_NEIGHBOR_RATIO = 0.15
_MIN_SIGMAS = 10.0
_MAX_HOT_PIXELS = 5000
_SAMPLE_SIZE = 20_011
_PIXELS_AT_ONCE = 2**20
_MIN_SPAN, _MAX_SPAN, _NEW_SPAN = 1.0, 1e9, 1e4


def prepare_frame(frame: Frame) -> Frame:
    """Remove hot pixels, and rescale counts whose squares would leave the range of single precision."""
    cleaned = remove_hot_pixels(frame.counts)
    if cleaned is not frame.counts:
        frame = replace(frame, counts=cleaned)
    span = float(frame.counts.max()) - float(frame.counts.min())
    if _MIN_SPAN <= span <= _MAX_SPAN:
        return frame
    factor = _NEW_SPAN / span
    counts = (frame.counts.astype(np.float64) * factor).astype(np.float32)
    return replace(
        frame,
        counts=counts,
        # Taken from the rescaled counts, because rounding must not lift the level above them.
        saturation_level=None if frame.saturation_level is None else float(counts.max()),
        min_spot_height=frame.min_spot_height * factor,
        ripple_height=frame.ripple_height * factor,
    )


def remove_hot_pixels(counts: FloatImage) -> FloatImage:
    """Replace hot pixels, caused by cosmic rays and camera defects, with the median of their neighbors.

    A pixel is hot if it exceeds all eight neighbors and none of these is high itself.

    Args:
        counts: (H, W).

    Returns:
        (H, W) a cleaned copy; the same array where there is nothing to replace.
    """
    sample = counts.ravel()[:: max(1, counts.size // _SAMPLE_SIZE)]
    background = float(np.median(sample))
    noise = max(1.4826 * float(np.median(np.abs(sample - background))), 1e-6 * float(np.ptp(sample)), 1e-30)
    # Few pixels exceed their neighbors by so much; only those are examined.
    rows, columns = _find_steep_pixels(counts, np.float32(_MIN_SIGMAS * noise))
    if not 0 < len(rows) <= _MAX_HOT_PIXELS:
        return counts
    neighbors = np.stack(
        [counts[rows + dy, columns + dx] for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)],
        axis=1,
    )
    median = np.median(neighbors, axis=1)
    height = counts[rows + 1, columns + 1] - median
    is_hot = (neighbors.max(axis=1) - median < _MAX_NEIGHBOR_RATIO * height) & (height > _MIN_SIGMAS * noise)
    if not is_hot.any():
        return counts
    cleaned = counts.copy()
    cleaned[rows[is_hot] + 1, columns[is_hot] + 1] = median[is_hot]
    return cleaned


def _find_steep_pixels(counts: FloatImage, height: np.float32) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns, less one, of the inner pixels that exceed their four neighbors by a height.

    The search ends once there are too many of them.
    """
    step = max(_PIXELS_AT_ONCE // counts.shape[1], 1)
    found, count = [], 0
    for top in range(0, len(counts) - 2, step):
        rows, columns = _find_steep_pixels_in_band(counts[top : top + step + 2], height)
        found.append((rows + top, columns))
        count += len(rows)
        if count > _MAX_HOT_PIXELS:
            break
    return np.concatenate([rows for rows, _ in found]), np.concatenate([columns for _, columns in found])


def _find_steep_pixels_in_band(
    counts: FloatImage, height: np.float32
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    inner = counts[1:-1]
    # One comparison over the whole frame leaves few pixels for the other three.
    rows, columns = np.nonzero(inner[:, 1:-1] - inner[:, :-2] > height)
    value = inner[rows, columns + 1]
    neighbor = np.maximum(
        inner[rows, columns + 2], np.maximum(counts[rows, columns + 1], counts[rows + 2, columns + 1])
    )
    is_steep = value - neighbor > height
    return rows[is_steep], columns[is_steep]


@dataclass(frozen=True, eq=False)
class BinnedImage:
    """Averages of a frame over square blocks of pixels, and the conversion between the two coordinate systems.

    Attributes:
        counts: (h, w) mean of each block. Incomplete blocks at the right and lower edge are left out.
        factor: pixels along the side of a block.
        shape: (H, W) of the frame.
    """

    counts: FloatImage
    factor: int
    shape: tuple[int, int]

    @classmethod
    def from_counts(cls, counts: FloatImage, side: int) -> "BinnedImage":
        """Bin counts so that the longer side has `side` to 2 `side` blocks, if the frame is large enough."""
        height, width = counts.shape
        factor = max(1, max(height, width) // side)
        rows, columns = height // factor, width // factor
        # Rows are summed first because they are contiguous in memory.
        summed_rows = counts[: rows * factor : factor].astype(np.float32)
        for dy in range(1, factor):
            summed_rows += counts[dy : rows * factor : factor]
        blocks = summed_rows[:, : columns * factor : factor].copy()
        for dx in range(1, factor):
            blocks += summed_rows[:, dx : columns * factor : factor]
        blocks /= factor**2
        return cls(blocks, factor, (height, width))

    def to_pixels(self, x: NDArray[np.number], y: NDArray[np.number]) -> NDArray[np.float64]:
        """Convert positions (N, 2) from blocks to pixels of the frame; the center of the first pixel is 0, 0."""
        blocks = np.column_stack([x, y]).astype(np.float64)
        pixels: NDArray[np.float64] = (blocks + 0.5) * self.factor - 0.5
        return pixels

    def to_pixel(self, point: tuple[float, float]) -> tuple[float, float]:
        """Convert one position from blocks to pixels of the frame."""
        return (point[0] + 0.5) * self.factor - 0.5, (point[1] + 0.5) * self.factor - 0.5

    def to_block(self, point: tuple[float, float]) -> tuple[float, float]:
        """Convert one position from pixels of the frame to blocks."""
        return (point[0] + 0.5) / self.factor - 0.5, (point[1] + 0.5) / self.factor - 0.5

    def expand_mask(self, mask: BoolImage) -> BoolImage:
        """Expand a mask of blocks to a mask (H, W) of the frame, True at edges that no block covers."""
        if mask.all():
            return np.broadcast_to(np.True_, self.shape)
        expanded = np.ones(self.shape, dtype=bool)
        large = mask.repeat(self.factor, axis=0).repeat(self.factor, axis=1)
        expanded[: large.shape[0], : large.shape[1]] = large
        return expanded
