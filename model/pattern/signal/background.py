"""What lies under the spots: diffuse scattering, the direct beam's tails, the shadow of a beam stop."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

# Two quantiles below the median, where spots that lie dense hardly reach, give mean and deviation of a normal.
_UPPER, _LOWER = 0.35, 0.10
_Z_UPPER, _Z_LOWER = -0.38532, -1.28155
_LINEAR_RINGS = 64
_SHADOW_DEPTH = -1.5
_SHADOW_BOX = 5
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings about a centre, one pixel wide up to 64 pixels and of constant ratio beyond.

    Attributes:
        number: (H, W) ring of each pixel.
        count: number of rings.
        sample: flat indices of the pixels that statistics are taken of: all near the centre, a part beyond.
    """

    number: NDArray[np.int32]
    count: int
    sample: NDArray[np.intp]

    @classmethod
    def about(cls, shape: tuple[int, int], center: tuple[float, float], stride: int = 3) -> "Rings":
        """Rings of an image of `shape` about `center` (x, y)."""
        y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(center[1])
        x = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(center[0])
        radius = np.sqrt(x * x + y * y)
        whole = np.arange(int(radius.max()) + 2)
        log = _LINEAR_RINGS * (1 + np.log(np.maximum(whole, 1) / _LINEAR_RINGS))
        table = np.where(whole < _LINEAR_RINGS, whole, log).astype(np.int32)
        number = table[radius.astype(np.int32)]
        chosen = radius < _LINEAR_RINGS / 2
        chosen[::stride, ::stride] = True
        return cls(number, int(table[-1]) + 1, np.flatnonzero(chosen))

    def level_and_noise(
        self, image: FloatImage, usable: BoolImage | None = None
    ) -> tuple[FloatImage, FloatImage]:
        """Robust mean and deviation of each ring, as tables of `count` rows, gaps filled from the neighbours."""
        sample = self.sample if usable is None else self.sample[usable.ravel()[self.sample]]
        ring, value = self.number.ravel()[sample], image.ravel()[sample]
        value = sorted_in_rings(ring, value)
        size = np.bincount(ring, minlength=self.count)
        start = np.cumsum(size) - size
        filled = np.flatnonzero(size >= 6)
        if not len(filled):
            return np.zeros(self.count, np.float32), np.full(self.count, np.inf, np.float32)
        upper, lower = (value[start[filled] + (size[filled] * p).astype(np.intp)] for p in (_UPPER, _LOWER))
        noise = (upper - lower) / (_Z_UPPER - _Z_LOWER)
        level = upper - _Z_UPPER * noise
        every = np.arange(self.count)
        return (
            np.interp(every, filled, level).astype(np.float32),
            np.interp(every, filled, noise).astype(np.float32),
        )


def sorted_in_rings(ring: NDArray[np.int32], value: FloatImage) -> FloatImage:
    """The values ring by ring, ascending in each."""
    # Bits of single precision order like integers once those of negative numbers are turned over; with the ring in
    # front one fast sort does for all.
    bits = value.astype(np.float32).view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    key = np.sort(ring.astype(np.uint64) << np.uint64(32) | ordered)
    ordered = key.astype(np.uint32)
    sorted_bits = np.where(ordered >> 31, ordered & np.uint32(0x7FFFFFFF), ~ordered)
    return np.asarray(sorted_bits.view(np.float32))


def shadow(residual: FloatImage, noise: FloatImage) -> BoolImage:
    """Pixels that lie in the shadow of a beam stop: darker than their ring beyond noise, in one piece."""
    depth = ndi.uniform_filter(np.clip(residual / noise, -8, 8), _SHADOW_BOX, mode="nearest")
    dark = depth < _SHADOW_DEPTH
    if not dark.any():
        return np.zeros(residual.shape, dtype=bool)
    labels, count = ndi.label(dark)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    size[0] = 0
    large: BoolImage = (size >= 4 * _SHADOW_BOX**2)[labels]
    if large.any():
        large = np.asarray(ndi.binary_dilation(large, iterations=_SHADOW_BOX // 2 + 1), dtype=bool)
    return large


def local_level(residual: FloatImage, usable: BoolImage) -> FloatImage:
    """What of the background is not round: the low quantile of blocks, smoothed, relative to the frame's."""
    height, width = (side // _BLOCK for side in residual.shape)
    if min(height, width) < 3:
        return np.zeros_like(residual)
    cut = (slice(0, height * _BLOCK, 2), slice(0, width * _BLOCK, 2))
    blocks = np.where(usable[cut], residual[cut], np.nan)
    half = _BLOCK // 2
    blocks = blocks.reshape(height, half, width, half).swapaxes(1, 2).reshape(height, width, -1)
    blocks = np.sort(blocks, axis=2)
    count = np.isfinite(blocks).sum(axis=2)
    at = (count * _UPPER).astype(np.intp)
    level = np.take_along_axis(blocks, at[..., None], axis=2)[..., 0]
    typical = np.median(level[count > 0]) if (count > 0).any() else 0.0
    level = np.where(count >= half, level, typical) - typical
    level = np.asarray(ndi.median_filter(level, 3, mode="nearest"))
    rows = (np.arange(residual.shape[0]) + 0.5) / _BLOCK - 0.5
    columns = (np.arange(residual.shape[1]) + 0.5) / _BLOCK - 0.5
    return _bilinear(level, rows, columns)


def _bilinear(
    grid: NDArray[np.floating], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> FloatImage:
    def weights(at: NDArray[np.float64], size: int) -> FloatImage:
        at = np.clip(at, 0, size - 1)
        hat: FloatImage = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size))).astype(np.float32)
        return hat

    across = weights(columns, grid.shape[1]).T
    result: FloatImage = weights(rows, grid.shape[0]) @ grid.astype(np.float32) @ across
    return result
