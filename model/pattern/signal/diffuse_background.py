"""What lies between the spots of a frame, block by block, and whether it is round about a place."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.pattern.signal.binning import Binned
from model.pattern.signal.peaks import Peaks

FloatArray = NDArray[np.float64]
BoolImage = NDArray[np.bool_]

_BLOCKS = 32
_SPOT_SIGMAS = 5
_LEAST_FREE = 0.25
# Cameras are no more even than this.
_UNEVENNESS = 0.02
_KNOTS = 16
# Widths of the tails that spots have themselves, as shares of the frame.
_TAILS = (1 / 100, 1 / 40)
_BRIGHTEST_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class DiffuseGround:
    """The ground of a frame, spots and beam stop left out.

    Attributes:
        level: (B,) mean counts of blocks.
        sigma: (B,) standard errors.
        at: (B, 2) their middles, x, y in pixels.
        side: pixels along the longer side of the frame.
    """

    level: FloatArray
    sigma: FloatArray
    at: FloatArray
    side: int

    @classmethod
    def of(cls, binned: Binned, usable: BoolImage, peaks: Peaks, sigma: float) -> Self:
        """Of a frame.

        Args:
            binned: the frame.
            usable: (H, W) pixels that no beam stop covers.
            peaks: its spots.
            sigma: their deviation, pixels.
        """
        free = _free(binned, usable, peaks, sigma)
        width = max(max(free.shape) // _BLOCKS, 1)
        rows, columns = (side // width for side in free.shape)
        cut = (slice(0, rows * width), slice(0, columns * width))

        def summed(image: NDArray[np.floating] | BoolImage) -> FloatArray:
            return np.asarray(
                image[cut].reshape(rows, width, columns, width).sum(axis=(1, 3), dtype=np.float64).ravel()
            )

        count, counts = summed(free), np.where(free, binned.counts, 0).astype(np.float64)
        kept = count > max(_LEAST_FREE * width**2, 2)
        count, level = count[kept], summed(counts)[kept] / count[kept]
        variance = np.maximum(summed(counts**2)[kept] / count - level**2, 0)
        row, column = (m.ravel()[kept] for m in np.mgrid[:rows, :columns])
        at = binned.full_pixels((column + 0.5) * width - 0.5, (row + 0.5) * width - 0.5)
        return cls(level, np.sqrt(variance / count), at, max(binned.shape))

    def farthest_of_brightest(self, point: FloatArray) -> float:
        """How far from a point (2,) the brightest blocks lie, their median, in sides of the frame."""
        if not len(self.level):
            return np.inf
        count = max(round(_BRIGHTEST_SHARE * len(self.level)), 3)
        brightest = self.at[np.argsort(-self.level, kind="stable")[:count]]
        return float(np.median(np.hypot(*(brightest - point).T))) / self.side

    def roundness(self, points: FloatArray, peaks: Peaks) -> FloatArray:
        """(C,) ln of the likelihood of the ground being round about each point (C, 2).

        Round is what depends on the distance alone, piecewise linearly; an even slope over the frame, and tails of the
        spots' own, are taken off with it.
        """
        away = np.hypot(*(self.at[:, None] - peaks.pixels).transpose(2, 0, 1)) / self.side
        tails = [(peaks.amplitude / (1 + (away / width) ** 2) ** 1.5).sum(axis=1) for width in _TAILS]
        beside = np.column_stack(
            [self.at / self.side - 0.5, *(tail / max(tail.max(), 1e-30) for tail in tails)]
        )
        contrast = _UNEVENNESS * (self.level - np.quantile(self.level, 0.02))
        scale = 1 / np.maximum(np.hypot(self.sigma, contrast), 1e-12)
        squares = np.array([self._misfit(point, beside, scale) for point in points])
        return -len(self.level) / 2 * np.log(np.maximum(squares / len(self.level), 1e-12))

    def _misfit(self, point: FloatArray, beside: FloatArray, scale: FloatArray) -> float:
        distance = np.hypot(*(self.at - point).T)
        knot = (distance - distance.min()) / max(np.ptp(distance), 1e-9) * (_KNOTS - 1.001)
        first, rows = knot.astype(np.intp), np.arange(len(knot))
        design = np.zeros((len(knot), _KNOTS + beside.shape[1]))
        design[rows, first], design[rows, first + 1] = 1 - knot + first, knot - first
        design[:, _KNOTS:] = beside
        design *= scale[:, None]
        normal = design.T @ design
        normal += 1e-6 * np.trace(normal) / len(normal) * np.eye(len(normal))
        residual = scale * self.level - design @ np.linalg.solve(normal, design.T @ (scale * self.level))
        return float(residual @ residual)


def _free(binned: Binned, usable: BoolImage, peaks: Peaks, sigma: float) -> BoolImage:
    """(h, w) blocks of the frame beside spots and beam stop."""
    height, width = binned.counts.shape
    step = slice(0, None, binned.factor)
    spots = np.zeros((height, width), dtype=bool)
    column, row = np.rint((peaks.pixels + 0.5) / binned.factor - 0.5).astype(np.intp).T
    spots[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)] = True
    reach = max(_SPOT_SIGMAS * sigma / binned.factor, 3.0)
    return np.asarray(usable[step, step][:height, :width] & (ndi.distance_transform_edt(~spots) > reach))
