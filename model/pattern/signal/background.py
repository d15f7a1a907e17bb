"""Background of a frame: diffuse scattering, tails of the direct beam, and the shadow of a beam stop."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

# Mean and standard deviation of a normal distribution follow from two quantiles below the median, which even dense
# spots hardly affect.
_UPPER, _LOWER = 0.35, 0.10
_Z_UPPER, _Z_LOWER = -0.38532, -1.28155
_LINEAR_BINS = 64
_SHADOW_DEPTH = -1.5
_SHADOW_BOX = 5
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class RadialBins:
    """Rings of pixels about a center: one pixel wide up to 64 pixels, of constant ratio beyond.

    Attributes:
        index: (H, W) number of each pixel's bin.
        count: number of bins.
        sample: flat indices of the pixels used for statistics: all near the center, a part of them beyond.
    """

    index: NDArray[np.int32]
    count: int
    sample: NDArray[np.intp]

    @classmethod
    def from_center(
        cls, shape: tuple[int, int], center: tuple[float, float], stride: int = 3
    ) -> "RadialBins":
        """Divide an image of `shape` into bins about `center` (x, y)."""
        y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(center[1])
        x = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(center[0])
        radius = np.sqrt(x * x + y * y)
        whole = np.arange(int(radius.max()) + 2)
        logarithmic = _LINEAR_BINS * (1 + np.log(np.maximum(whole, 1) / _LINEAR_BINS))
        table = np.where(whole < _LINEAR_BINS, whole, logarithmic).astype(np.int32)
        index = table[radius.astype(np.int32)]
        is_sampled = radius < _LINEAR_BINS / 2
        is_sampled[::stride, ::stride] = True
        return cls(index, int(table[-1]) + 1, np.flatnonzero(is_sampled))

    def estimate_level_and_noise(
        self, image: FloatImage, usable: BoolImage | None = None
    ) -> tuple[FloatImage, FloatImage]:
        """Estimate robust mean and standard deviation of each bin.

        Args:
            image: (H, W).
            usable: (H, W) pixels to use; all if absent.

        Returns:
            Two arrays (count,); bins with too few pixels are interpolated.
        """
        sample = self.sample if usable is None else self.sample[usable.ravel()[self.sample]]
        index, value = self.index.ravel()[sample], image.ravel()[sample]
        value = sort_in_bins(index, value)
        size = np.bincount(index, minlength=self.count)
        start = np.cumsum(size) - size
        filled = np.flatnonzero(size >= 6)
        if not len(filled):
            return np.zeros(self.count, np.float32), np.full(self.count, np.inf, np.float32)
        upper, lower = (value[start[filled] + (size[filled] * p).astype(np.intp)] for p in (_UPPER, _LOWER))
        noise = (upper - lower) / (_Z_UPPER - _Z_LOWER)
        level = upper - _Z_UPPER * noise
        bins = np.arange(self.count)
        return (
            np.interp(bins, filled, level).astype(np.float32),
            np.interp(bins, filled, noise).astype(np.float32),
        )


def subtract_background(
    counts: FloatImage, center: tuple[float, float]
) -> tuple[FloatImage, BoolImage, RadialBins]:
    """Subtract the background about a center accurate to a few pixels.

    Args:
        counts: (H, W).
        center: x, y.

    Returns:
        (H, W) counts above the background, (H, W) pixels that no beam stop covers, and the bins about the center.
    """
    bins = RadialBins.from_center(counts.shape, center)
    level, noise = bins.estimate_level_and_noise(counts)
    residual = counts - level[bins.index]
    usable = ~_find_shadow(residual, np.maximum(noise, 1e-30)[bins.index])
    residual -= _estimate_uneven_background(residual, usable)
    return residual, usable, bins


def sort_in_bins(index: NDArray[np.int32], value: FloatImage) -> FloatImage:
    """Return the values bin by bin, ascending in each.

    Args:
        index: (N,) bin of each value.
        value: (N,).
    """
    # The bits of single precision order like integers once those of negative numbers are inverted. With the bin in
    # front, a single fast sort orders everything.
    bits = value.astype(np.float32).view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    key = np.sort(index.astype(np.uint64) << np.uint64(32) | ordered)
    ordered = key.astype(np.uint32)
    sorted_bits = np.where(ordered >> 31, ordered & np.uint32(0x7FFFFFFF), ~ordered)
    return np.asarray(sorted_bits.view(np.float32))


def _find_shadow(residual: FloatImage, noise: FloatImage) -> BoolImage:
    """Find the shadow of a beam stop: connected pixels that are darker than their bin beyond the noise.

    Args:
        residual: (H, W) counts less the level of their bin.
        noise: (H, W) standard deviation of their bin.

    Returns:
        (H, W) pixels in the shadow.
    """
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


def _estimate_uneven_background(residual: FloatImage, usable: BoolImage) -> FloatImage:
    """Estimate the part of the background that is not radially symmetric: a low quantile of blocks, smoothed.

    Args:
        residual: (H, W) counts less the level of their bin.
        usable: (H, W) pixels that no beam stop covers.

    Returns:
        (H, W) relative to the median of the frame.
    """
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
    return _interpolate_bilinear(level, rows, columns)


def _interpolate_bilinear(
    grid: NDArray[np.floating], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> FloatImage:
    def compute_weights(at: NDArray[np.float64], size: int) -> FloatImage:
        at = np.clip(at, 0, size - 1)
        hat: FloatImage = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size))).astype(np.float32)
        return hat

    across = compute_weights(columns, grid.shape[1]).T
    result: FloatImage = compute_weights(rows, grid.shape[0]) @ grid.astype(np.float32) @ across
    return result
