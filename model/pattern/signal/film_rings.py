"""Sharp rings about the centre of a frame: those of a polycrystalline support film, or of a powder."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.pattern.signal.background import sorted_in_rings

FloatImage = NDArray[np.float32]
FloatArray = NDArray[np.float64]

# h^2 + k^2 + l^2 of the first rings of a face-centred cubic metal; all have to be seen.
_FCC = np.array([3, 4, 8, 11])
_LEAST_HEIGHT = 0.6
_QUANTILES = (0.3, 0.1)
_AWAY_PX, _SMOOTH_PX = 6, 9
_NEAREST_PX = 15
_SAME, _SAME_PX = 0.008, 0.7
_MOST_RINGS = 16
_SECTORS, _ALL_ROUND, _EVEN = 24, 0.8, 2.0
_ON_PX, _BESIDE_PX = 1.5, (5.0, 8.0)


@dataclass(frozen=True, eq=False)
class FilmRings:
    """Rings about a centre.

    Attributes:
        counts: (H, W) the image.
        center: x, y.
        radii: (R,) pixels, of all that may be rings: many spots at one radius pass for one here.
    """

    counts: FloatImage
    center: tuple[float, float]
    radii: FloatArray

    @classmethod
    def about(cls, counts: FloatImage, center: tuple[float, float]) -> Self:
        """The rings of an image about x, y."""
        if _reach(counts, center) <= _NEAREST_PX:
            return cls(counts, center, np.empty(0))
        height = _heights(counts, center)
        level = np.asarray(ndi.maximum_filter1d(height, 5))
        at = np.flatnonzero((height == level) & (height > _LEAST_HEIGHT))
        at = at[(at > _NEAREST_PX) & (at < len(height) - 2)]
        return cls(counts, center, np.array([_middle(height, int(each)) for each in at[:_MOST_RINGS]]))

    def fcc_unit(self) -> float | None:
        """Pixels of 1 / a of a face-centred cubic metal whose rings are among these; None where they are not."""
        best: tuple[float, FloatArray] | None = None
        for first in self.radii:
            expected = first * np.sqrt(_FCC / _FCC[0])
            nearest = self.radii[np.abs(self.radii[:, None] - expected).argmin(axis=0)]
            off = np.abs(nearest - expected)
            worst = float((off / (_SAME * expected + _SAME_PX)).max())
            if worst <= 1 and (best is None or worst < best[0]):
                best = worst, nearest
        if best is None or not all(self.goes_round(float(each)) for each in best[1]):
            return None
        return float((best[1] * np.sqrt(_FCC)).sum() / _FCC.sum())

    def count(self) -> int:
        """How many are rings indeed."""
        return sum(self.goes_round(float(each)) for each in self.radii)

    def goes_round(self, radius_px: float) -> bool:
        """Whether it is seen in nearly all directions, as a ring is and spots are not."""
        y, x = np.indices(self.counts.shape, dtype=np.float32)
        x -= np.float32(self.center[0])
        y -= np.float32(self.center[1])
        off = np.sqrt(x * x + y * y) - np.float32(radius_px)
        near = np.flatnonzero(np.abs(off) <= _BESIDE_PX[1])
        off, value = off.ravel()[near], self.counts.ravel()[near]
        turn = np.arctan2(y.ravel()[near], x.ravel()[near])
        sector = np.minimum(((turn / (2 * np.pi) + 0.5) * _SECTORS).astype(np.intp), _SECTORS - 1)
        on, beside = np.abs(off) <= _ON_PX, np.abs(off) >= _BESIDE_PX[0]
        higher = np.array(
            [
                np.median(value[(sector == each) & on]) - np.median(value[(sector == each) & beside])
                for each in range(_SECTORS)
                if (on & (sector == each)).any() and (beside & (sector == each)).any()
            ]
        )
        if len(higher) < _ALL_ROUND * _SECTORS:
            return False
        typical = float(np.median(higher))
        uneven = 1.4826 * float(np.median(np.abs(higher - typical)))
        return typical > _EVEN * uneven and float((higher > 0.3 * typical).mean()) >= _ALL_ROUND


def _reach(counts: FloatImage, center: tuple[float, float]) -> int:
    """Radius of the largest whole circle: corners hold too little of a ring to tell."""
    return int(min(*center, *(np.array(counts.shape[::-1]) - 1 - center)))


def _heights(counts: FloatImage, center: tuple[float, float]) -> FloatArray:
    """How far the low quantile of the counts at each whole radius exceeds that of its surroundings, over their noise.

    A ring lifts all of a radius; the spots of a crystal, however many, leave some of it dark.
    """
    rows = np.arange(0, counts.shape[0], 2)
    x = np.arange(counts.shape[1], dtype=np.float32) - np.float32(center[0])
    y = rows.astype(np.float32) - np.float32(center[1])
    radius = np.rint(np.sqrt(x * x + (y * y)[:, None])).astype(np.int32).ravel()
    whole = _reach(counts, center)
    inside = radius <= whole
    radius = radius[inside]
    value = sorted_in_rings(radius, counts[rows].ravel()[inside])
    size = np.bincount(radius, minlength=whole + 1)
    start = np.cumsum(size) - size
    low, lower = (value[start + (size * each).astype(np.intp)].astype(np.float64) for each in _QUANTILES)
    noise = np.asarray(ndi.median_filter(low - lower, _SMOOTH_PX))
    smooth = np.asarray(ndi.uniform_filter1d(low, 3))
    padded = np.pad(smooth, _AWAY_PX, mode="edge")
    beside = np.maximum(padded[: -2 * _AWAY_PX], padded[2 * _AWAY_PX :])
    return np.asarray((low - beside) / np.maximum(noise, 1e-9 * max(float(np.abs(low).max()), 1e-30)))


def _middle(height: FloatArray, at: int) -> float:
    """Of the maximum, by the parabola through it and its neighbours."""
    before, top, after = height[at - 1 : at + 2]
    bend = before - 2 * top + after
    return at + (0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5)))
