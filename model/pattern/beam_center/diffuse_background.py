"""Diffuse background between the spots of a frame, block by block, and its roundness about a point."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.pattern.signal.peaks import DetectedPeaks, Peaks

FloatArray = NDArray[np.float64]
BoolImage = NDArray[np.bool_]

_BLOCKS = 32
_SPOT_SIGMAS = 5
_MIN_FREE_SHARE = 0.25
_CAMERA_UNEVENNESS = 0.02
_KNOTS = 16
# Widths of the tails of the spots, as shares of the frame.
_TAIL_WIDTHS = (1 / 100, 1 / 40)
_BRIGHTEST_SHARE = 0.01
# Of 364 rendered frames with the direct beam inside, nine in ten are brightest within this share of a side of the
# center; of 244 with it outside, or beside the center of symmetry, one in sixty.
_MAX_BRIGHTEST_DISTANCE = 0.12


@dataclass(frozen=True, eq=False)
class DiffuseBackground:
    """Mean counts of the blocks of a frame without spots and beam stop.

    Attributes:
        level: (B,) mean counts.
        sigma: (B,) standard errors.
        pixels: (B, 2) centers of the blocks, x, y in pixels.
        side: pixels along the longer side of the frame.
    """

    level: FloatArray
    sigma: FloatArray
    pixels: FloatArray
    side: int

    @classmethod
    def measure(cls, detected: DetectedPeaks) -> Self:
        """Measure the background between the peaks of a frame."""
        binned = detected.binned
        free = _find_free_pixels(detected)
        width = max(max(free.shape) // _BLOCKS, 1)
        rows, columns = (side // width for side in free.shape)
        cut = (slice(0, rows * width), slice(0, columns * width))

        def sum_blocks(image: NDArray[np.floating] | BoolImage) -> FloatArray:
            blocks = image[cut].reshape(rows, width, columns, width)
            return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float64).ravel())

        count, counts = sum_blocks(free), np.where(free, binned.counts, 0).astype(np.float64)
        kept = count > max(_MIN_FREE_SHARE * width**2, 2)
        count, level = count[kept], sum_blocks(counts)[kept] / count[kept]
        variance = np.maximum(sum_blocks(counts**2)[kept] / count - level**2, 0)
        row, column = (m.ravel()[kept] for m in np.mgrid[:rows, :columns])
        pixels = binned.to_pixels((column + 0.5) * width - 0.5, (row + 0.5) * width - 0.5)
        return cls(level, np.sqrt(variance / count), pixels, max(binned.shape))

    def is_brightest_near(self, point: FloatArray) -> bool:
        """Return whether the brightest blocks lie near a point (2,)."""
        if not len(self.level):
            return False
        count = max(round(_BRIGHTEST_SHARE * len(self.level)), 3)
        brightest = self.pixels[np.argsort(-self.level, kind="stable")[:count]]
        return float(np.median(np.hypot(*(brightest - point).T))) / self.side < _MAX_BRIGHTEST_DISTANCE

    def compute_roundness(self, points: FloatArray, peaks: Peaks) -> FloatArray:
        """Return the log-likelihood (C,) that the background is round about each point (C, 2).

        A round background depends on the distance alone, piecewise linearly. A gradient over the frame and the tails of
        the spots are fitted with it.
        """
        distance = np.hypot(*(self.pixels[:, None] - peaks.pixels).transpose(2, 0, 1)) / self.side
        tails = [
            (peaks.amplitude / (1 + (distance / width) ** 2) ** 1.5).sum(axis=1) for width in _TAIL_WIDTHS
        ]
        other_terms = np.column_stack(
            [self.pixels / self.side - 0.5, *(tail / max(tail.max(), 1e-30) for tail in tails)]
        )
        contrast = _CAMERA_UNEVENNESS * (self.level - np.quantile(self.level, 0.02))
        scale = 1 / np.maximum(np.hypot(self.sigma, contrast), 1e-12)
        squares = np.array([self._fit_round(point, other_terms, scale) for point in points])
        return -len(self.level) / 2 * np.log(np.maximum(squares / len(self.level), 1e-12))

    def _fit_round(self, point: FloatArray, other_terms: FloatArray, scale: FloatArray) -> float:
        """Return the weighted sum of squared residuals of a background that is round about a point."""
        distance = np.hypot(*(self.pixels - point).T)
        knot = (distance - distance.min()) / max(np.ptp(distance), 1e-9) * (_KNOTS - 1.001)
        first, rows = knot.astype(np.intp), np.arange(len(knot))
        design = np.zeros((len(knot), _KNOTS + other_terms.shape[1]))
        design[rows, first], design[rows, first + 1] = 1 - knot + first, knot - first
        design[:, _KNOTS:] = other_terms
        design *= scale[:, None]
        normal = design.T @ design
        normal += 1e-6 * np.trace(normal) / len(normal) * np.eye(len(normal))
        residual = scale * self.level - design @ np.linalg.solve(normal, design.T @ (scale * self.level))
        return float(residual @ residual)


def _find_free_pixels(detected: DetectedPeaks) -> BoolImage:
    """Return the pixels (h, w) of the binned frame outside spots and beam stop."""
    binned = detected.binned
    height, width = binned.counts.shape
    step = slice(0, None, binned.factor)
    spots = np.zeros((height, width), dtype=bool)
    column, row = np.rint((detected.peaks.pixels + 0.5) / binned.factor - 0.5).astype(np.intp).T
    spots[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)] = True
    reach = max(_SPOT_SIGMAS * detected.sigma / binned.factor, 3.0)
    is_unshadowed = detected.usable[step, step][:height, :width]
    return np.asarray(is_unshadowed & (ndi.distance_transform_edt(~spots) > reach))
