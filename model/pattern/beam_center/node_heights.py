"""Heights of the spots at the nodes of a lattice: how they fall off from a point, and their symmetry about it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from model.pattern.beam_center.spot_lattice import SpotLattice
from model.pattern.signal.peaks import DetectedPeaks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_ITERATIONS = 12
_LOG_SPREAD, _SPREAD_WEIGHT = 1.3, 4  # prior rms of ln I about the fall-off, and how many spots it counts for
_HALF_LOG_2_PI = 0.5 * np.log(2 * np.pi)
_DETECTION_LIMIT_QUANTILE = 0.02
_NEAR_SIGMAS, _NEAR_STEPS = 2.0, 0.15
# Correlations of the residuals of symmetric spots, which tilt and polar layers make smaller than 1.
_CORRELATIONS = np.array([0.0, 0.35, 0.6, 0.8, 0.9])


@dataclass(frozen=True, eq=False)
class NodeHeights:
    """The nodes of a lattice in a frame, with the heights of their spots.

    Attributes:
        hk: (M, 2) indices of the nodes.
        pixels: (M, 2) x, y.
        log_height: (M,) ln of the height where a spot is seen.
        seen: (M,) whether a spot is seen.
        log_detection_limit: ln of the height above which spots are seen.
    """

    hk: IntArray
    pixels: FloatArray
    log_height: FloatArray
    seen: BoolArray
    log_detection_limit: float

    @classmethod
    def measure(cls, lattice: SpotLattice, detected: DetectedPeaks) -> Self:
        """Assign the peaks of a frame to the nodes that no beam stop covers."""
        height, width = detected.usable.shape
        peaks, sigma = detected.peaks, detected.sigma
        border = 2 * sigma
        hk = lattice.find_indices_within((border, border, width - 1 - border, height - 1 - border))
        pixels = lattice.origin + hk @ lattice.basis
        column, row = np.rint(pixels).astype(np.intp).T
        free = detected.usable[row, column]
        hk, pixels = hk[free], pixels[free]
        distance = np.hypot(*(pixels[:, None] - peaks.pixels).transpose(2, 0, 1))
        own = distance.argmin(axis=1)
        near = min(max(_NEAR_SIGMAS * sigma, 2.0), _NEAR_STEPS * float(np.hypot(*lattice.basis.T).min()))
        seen = distance[np.arange(len(hk)), own] < near
        log_height = np.log(np.maximum(peaks.amplitude[own], 1e-30))
        limit = float(np.quantile(np.log(np.maximum(peaks.amplitude, 1e-30)), _DETECTION_LIMIT_QUANTILE))
        return cls(hk, pixels, log_height, seen, min(limit, float(log_height[seen].min(initial=np.inf))))

    def fit_fall_off(self, points: FloatArray, side: float) -> tuple[FloatArray, FloatArray]:
        """Fit ln height by a parabola of the distance from each point.

        A node without a spot counts with the probability of being below the detection limit (Tobin, Econometrica 26,
        24, 1958).

        Args:
            points: (C, 2) pixels.
            side: unit of length, in pixels.

        Returns:
            (C,) log-likelihoods, and (C, M) residuals of the nodes in standard deviations.
        """
        distance = np.hypot(*(self.pixels - points[:, None]).transpose(2, 0, 1)) / side
        design = np.stack([np.ones_like(distance), distance, distance**2], axis=2)
        normal = design.swapaxes(1, 2) @ design + 1e-3 * np.eye(3)
        inverse = np.linalg.solve(normal, design.swapaxes(1, 2))
        hidden, limit = ~self.seen, self.log_detection_limit
        value = np.where(self.seen, self.log_height, limit - 0.5)[None].repeat(len(points), axis=0)
        spread, mean = np.full((len(points), 1), _LOG_SPREAD), value
        for _ in range(_ITERATIONS):
            mean = (design @ (inverse @ value[..., None]))[..., 0]
            below = (limit - mean[:, hidden]) / spread
            ratio = np.exp(-(below**2) / 2 - _HALF_LOG_2_PI - log_ndtr(below))
            value[:, hidden] = mean[:, hidden] - spread * ratio
            unknown = spread**2 * np.maximum(1 - below * ratio - ratio**2, 0)
            squares = ((value - mean) ** 2).sum(axis=1, keepdims=True) + unknown.sum(axis=1, keepdims=True)
            spread = np.sqrt((squares + _SPREAD_WEIGHT * _LOG_SPREAD**2) / (len(self.hk) + _SPREAD_WEIGHT))
        residual = (value - mean) / spread
        log_likelihood = (-(residual**2) / 2 - np.log(spread) - _HALF_LOG_2_PI)[:, self.seen].sum(axis=1)
        log_likelihood += log_ndtr((limit - mean[:, hidden]) / spread).sum(axis=1)
        penalty = _SPREAD_WEIGHT * (np.log(spread) + _LOG_SPREAD**2 / (2 * spread**2))[:, 0]
        return log_likelihood - penalty, residual

    def compute_symmetry(self, nodes: IntArray, residual: FloatArray, lattice: SpotLattice) -> FloatArray:
        """Return the log-likelihood ratio (C,) of residuals with and without a symmetry of the lattice about each node.

        Args:
            nodes: (C, 2) indices.
            residual: (C, M) from `fit_fall_off` about the nodes.
            lattice: lattice of the nodes.
        """
        first = self.hk.min(axis=0)
        row_of = np.full(self.hk.max(axis=0) - first + 1, -1)
        row_of[tuple((self.hk - first).T)] = np.arange(len(self.hk))
        gains = [
            self._compare_mates(nodes, residual, operation, row_of, first)
            for operation in lattice.find_symmetries()
        ]
        return np.asarray(np.logaddexp.reduce(gains, axis=0) - np.log(len(gains)))

    def _compare_mates(
        self, nodes: IntArray, residual: FloatArray, operation: IntArray, row_of: IntArray, first: IntArray
    ) -> FloatArray:
        """Return the log-likelihood ratio (C,) for one operation (2, 2) about the nodes."""
        target = (self.hk - nodes[:, None]) @ operation + nodes[:, None] - first
        inside = np.asarray(((target >= 0) & (target < row_of.shape)).all(axis=2))
        h, k = np.where(inside[..., None], target, 0).transpose(2, 0, 1)
        mate = np.where(inside, row_of[h, k], -1)
        rows = np.arange(len(self.hk))
        is_counted = (mate > rows) & (self.seen | self.seen[mate])
        own = np.where(is_counted, residual, 0)
        other = np.where(is_counted, np.take_along_axis(residual, np.maximum(mate, 0), axis=1), 0)
        squares, product = (own**2 + other**2).sum(axis=1), (own * other).sum(axis=1)
        # ln of the density of two correlated normal variables over that of independent ones, for each correlation.
        rho, free = _CORRELATIONS[:, None], 1 - _CORRELATIONS[:, None] ** 2
        gain = -is_counted.sum(axis=1) / 2 * np.log(free) - (rho**2 * squares - 2 * rho * product) / (
            2 * free
        )
        return np.asarray(np.logaddexp.reduce(gain, axis=0) - np.log(len(_CORRELATIONS)))
