"""How the heights of spots fall off from a place, those too weak to be seen counted too."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from model.pattern.beam_center.lattice_node import SpotLattice
from model.pattern.signal.peaks import Peaks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_ITERATIONS = 12
_LOG_SPREAD, _SPREAD_WORTH = 1.3, 4  # rms of ln I about its envelope, and how many spots that is worth
_HALF_LOG_2_PI = 0.5 * np.log(2 * np.pi)
_FAINTEST_SHARE = 0.02
_NEAR_SIGMAS, _NEAR_STEPS = 2.0, 0.15
# Correlations that the deviations of symmetric spots may have: a tilt, and polar layers, make them differ.
_CORRELATIONS = np.array([0.0, 0.35, 0.6, 0.8, 0.9])


@dataclass(frozen=True, eq=False)
class NodeHeights:
    """The nodes of a lattice in a frame, with the heights of their spots.

    Attributes:
        hk: (M, 2) their indices.
        pixels: (M, 2) x, y.
        log_height: (M,) ln of the amplitude where a spot was seen.
        seen: (M,) whether one was.
        faintest: ln of the amplitude from which spots are seen.
    """

    hk: IntArray
    pixels: FloatArray
    log_height: FloatArray
    seen: BoolArray
    faintest: float

    @classmethod
    def of(cls, lattice: SpotLattice, peaks: Peaks, sigma: float, usable: BoolArray) -> Self:
        """Of the spots of a frame; `usable` (H, W) are the pixels that no beam stop covers."""
        height, width = usable.shape
        border = 2 * sigma
        hk = lattice.indices_within((border, border, width - 1 - border, height - 1 - border))
        pixels = lattice.origin + hk @ lattice.basis
        column, row = np.rint(pixels).astype(np.intp).T
        free = usable[row, column]
        hk, pixels = hk[free], pixels[free]
        away = np.hypot(*(pixels[:, None] - peaks.pixels).transpose(2, 0, 1))
        own = away.argmin(axis=1)
        near = min(max(_NEAR_SIGMAS * sigma, 2.0), _NEAR_STEPS * float(np.hypot(*lattice.basis.T).min()))
        seen = away[np.arange(len(hk)), own] < near
        log_height = np.log(np.maximum(peaks.amplitude[own], 1e-30))
        faintest = float(np.quantile(np.log(np.maximum(peaks.amplitude, 1e-30)), _FAINTEST_SHARE))
        return cls(hk, pixels, log_height, seen, min(faintest, float(log_height[seen].min(initial=np.inf))))

    def falling_off(self, points: FloatArray, side: float) -> tuple[FloatArray, FloatArray]:
        """How well ln heights follow a parabola in the distance from each point (C, 2); `side` is a length.

        Returns:
            (C,) ln of the likelihood, and (C, M) what remains of each node, in deviations. A node without a spot counts
            with the probability of being too faint (Tobin, Econometrica 26, 24, 1958).
        """
        distance = np.hypot(*(self.pixels - points[:, None]).transpose(2, 0, 1)) / side
        design = np.stack([np.ones_like(distance), distance, distance**2], axis=2)
        normal = design.swapaxes(1, 2) @ design + 1e-3 * np.eye(3)
        inverse = np.linalg.solve(normal, design.swapaxes(1, 2))
        hidden = ~self.seen
        value = np.where(self.seen, self.log_height, self.faintest - 0.5)[None].repeat(len(points), axis=0)
        spread, mean = np.full((len(points), 1), _LOG_SPREAD), value
        for _ in range(_ITERATIONS):
            mean = (design @ (inverse @ value[..., None]))[..., 0]
            short = (self.faintest - mean[:, hidden]) / spread
            ratio = np.exp(-(short**2) / 2 - _HALF_LOG_2_PI - log_ndtr(short))
            value[:, hidden] = mean[:, hidden] - spread * ratio
            unknown = spread**2 * np.maximum(1 - short * ratio - ratio**2, 0)
            squares = ((value - mean) ** 2).sum(axis=1, keepdims=True) + unknown.sum(axis=1, keepdims=True)
            spread = np.sqrt((squares + _SPREAD_WORTH * _LOG_SPREAD**2) / (len(self.hk) + _SPREAD_WORTH))
        deviation = (value - mean) / spread
        likelihood = (-(deviation**2) / 2 - np.log(spread) - _HALF_LOG_2_PI)[:, self.seen].sum(axis=1)
        likelihood += log_ndtr((self.faintest - mean[:, hidden]) / spread).sum(axis=1)
        prior = _SPREAD_WORTH * (np.log(spread) + _LOG_SPREAD**2 / (2 * spread**2))[:, 0]
        return likelihood - prior, deviation

    def symmetry(self, nodes: IntArray, deviation: FloatArray, lattice: SpotLattice) -> FloatArray:
        """(C,) ln of the likelihood, over that of none, that deviations have a symmetry of the lattice about each node.

        Args:
            nodes: (C, 2) indices.
            deviation: (C, M) as of `falling_off` about them.
            lattice: whose nodes they are.
        """
        first = self.hk.min(axis=0)
        row_of = np.full(self.hk.max(axis=0) - first + 1, -1)
        row_of[tuple((self.hk - first).T)] = np.arange(len(self.hk))
        gains = [self._alike(nodes, deviation, turn, row_of, first) for turn in lattice.symmetries()]
        return np.asarray(np.logaddexp.reduce(gains, axis=0) - np.log(len(gains)))

    def _alike(
        self, nodes: IntArray, deviation: FloatArray, turn: IntArray, row_of: IntArray, first: IntArray
    ) -> FloatArray:
        """(C,) of one operation `turn` (2, 2) about the nodes."""
        to = (self.hk - nodes[:, None]) @ turn + nodes[:, None] - first
        inside = np.asarray(((to >= 0) & (to < row_of.shape)).all(axis=2))
        h, k = np.where(inside[..., None], to, 0).transpose(2, 0, 1)
        mate = np.where(inside, row_of[h, k], -1)
        rows = np.arange(len(self.hk))
        counted = (mate > rows) & (self.seen | self.seen[mate])
        own = np.where(counted, deviation, 0)
        other = np.where(counted, np.take_along_axis(deviation, np.maximum(mate, 0), axis=1), 0)
        squares, product = (own**2 + other**2).sum(axis=1), (own * other).sum(axis=1)
        # ln of two correlated normals over that of two independent ones, of each correlation.
        rho, free = _CORRELATIONS[:, None], 1 - _CORRELATIONS[:, None] ** 2
        gain = -counted.sum(axis=1) / 2 * np.log(free) - (rho**2 * squares - 2 * rho * product) / (2 * free)
        return np.asarray(np.logaddexp.reduce(gain, axis=0) - np.log(len(_CORRELATIONS)))
