"""Sharp rings about the center of a frame, from a polycrystalline support film or a powder."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.pattern.materials import MATERIALS
from model.pattern.signal.background import sort_in_bins
from model.pattern.signal.preprocessing import BinnedImage

FloatImage = NDArray[np.float32]
FloatArray = NDArray[np.float64]

# h^2 + k^2 + l^2 of the first rings of a face-centered cubic metal; all of them have to be seen.
_FCC_SQUARES = np.array([3, 4, 8, 11])
USUAL_FILM, OTHER_FILM = MATERIALS["Au"], MATERIALS["Al"]
# Ring radii are good to about 0.1 %, the two metals differ by 0.7 %, and stated scales are seldom better than this.
_SCALE_TOLERANCE = 0.02
_MIN_HEIGHT = 0.6
_QUANTILES = (0.3, 0.1)
_BESIDE_RING_PX, _SMOOTHING_PX = 6, 9
_MIN_RADIUS_PX = 15
_RADIUS_TOLERANCE, _RADIUS_TOLERANCE_PX = 0.008, 0.7
_MAX_RINGS = 16
_SECTORS, _MIN_SECTOR_SHARE, _MIN_EVENNESS = 24, 0.8, 2.0
_ON_RING_PX, _BACKGROUND_PX = 1.5, (5.0, 8.0)


@dataclass(frozen=True, eq=False)
class FilmRings:
    """Possible rings about a center.

    Attributes:
        counts: (H, W) image.
        center: x, y.
        radii: (R,) pixels. Many spots at one radius also count as a ring here.
    """

    counts: FloatImage
    center: tuple[float, float]
    radii: FloatArray

    @classmethod
    def find(cls, counts: FloatImage, center: tuple[float, float]) -> Self:
        """Find the rings of an image (H, W) about x, y."""
        if _compute_reach(counts, center) <= _MIN_RADIUS_PX:
            return cls(counts, center, np.empty(0))
        height = _compute_heights(counts, center)
        local_maximum = np.asarray(ndi.maximum_filter1d(height, 5))
        at = np.flatnonzero((height == local_maximum) & (height > _MIN_HEIGHT))
        at = at[(at > _MIN_RADIUS_PX) & (at < len(height) - 2)]
        radii = np.array([_interpolate_maximum(height, int(each)) for each in at[:_MAX_RINGS]])
        return cls(counts, center, radii)

    def match_fcc_metal(self) -> float | None:
        """Return 1 / a, in pixels, of a face-centered cubic metal whose rings are among these, or None."""
        best: tuple[float, FloatArray] | None = None
        for first in self.radii:
            expected = first * np.sqrt(_FCC_SQUARES / _FCC_SQUARES[0])
            nearest = self.radii[np.abs(self.radii[:, None] - expected).argmin(axis=0)]
            deviation = np.abs(nearest - expected)
            worst = float((deviation / (_RADIUS_TOLERANCE * expected + _RADIUS_TOLERANCE_PX)).max())
            if worst <= 1 and (best is None or worst < best[0]):
                best = worst, nearest
        if best is None or not all(self.is_whole_ring(float(radius)) for radius in best[1]):
            return None
        return float((best[1] * np.sqrt(_FCC_SQUARES)).sum() / _FCC_SQUARES.sum())

    def count_whole_rings(self) -> int:
        """Return how many radii belong to rings, not to spots."""
        return sum(self.is_whole_ring(float(radius)) for radius in self.radii)

    def is_whole_ring(self, radius_px: float) -> bool:
        """Return whether a radius is brighter than its surroundings in nearly all directions, unlike spots."""
        y, x = np.indices(self.counts.shape, dtype=np.float32)
        x -= np.float32(self.center[0])
        y -= np.float32(self.center[1])
        offset = np.sqrt(x * x + y * y) - np.float32(radius_px)
        near = np.flatnonzero(np.abs(offset) <= _BACKGROUND_PX[1])
        offset, value = offset.ravel()[near], self.counts.ravel()[near]
        angle = np.arctan2(y.ravel()[near], x.ravel()[near])
        sector = np.minimum(((angle / (2 * np.pi) + 0.5) * _SECTORS).astype(np.intp), _SECTORS - 1)
        is_ring, is_background = np.abs(offset) <= _ON_RING_PX, np.abs(offset) >= _BACKGROUND_PX[0]
        height = np.array(
            [
                np.median(value[(sector == each) & is_ring])
                - np.median(value[(sector == each) & is_background])
                for each in range(_SECTORS)
                if (is_ring & (sector == each)).any() and (is_background & (sector == each)).any()
            ]
        )
        if len(height) < _MIN_SECTOR_SHARE * _SECTORS:
            return False
        typical = float(np.median(height))
        spread = 1.4826 * float(np.median(np.abs(height - typical)))
        is_even = typical > _MIN_EVENNESS * spread
        return is_even and float((height > 0.3 * typical).mean()) >= _MIN_SECTOR_SHARE


def find_fcc_unit(binned: BinnedImage, center_px: tuple[float, float]) -> float | None:
    """Return 1 / a, in pixels of the frame, of the fcc metal whose rings surround a center; None if there are none."""
    unit = FilmRings.find(binned.counts, binned.to_block(center_px)).match_fcc_metal()
    return None if unit is None else unit * binned.factor


def derive_pixel_size(fcc_unit_px: float) -> float:
    """Return 1/angstrom per pixel if the rings are those of gold, the usual film.

    Args:
        fcc_unit_px: 1 / a of the metal, in pixels.
    """
    return 1 / (USUAL_FILM.a_angstrom * fcc_unit_px)


def warn_of_ring_scale(fcc_unit_px: float, stated_inv_angstrom: float | None) -> tuple[str, ...]:
    """Return a warning if the rings of a metal give the scale, or contradict the stated one.

    Args:
        fcc_unit_px: 1 / a of the metal, in pixels.
        stated_inv_angstrom: 1/angstrom per pixel as request or file state it; None if neither does.
    """
    size = derive_pixel_size(fcc_unit_px)
    if stated_inv_angstrom is None:
        difference = 100 * (USUAL_FILM.a_angstrom / OTHER_FILM.a_angstrom - 1)
        return (
            f"The pixel size, {size:.5g} 1/angstrom, was derived from rings of the support film, assumed to be "
            f"{USUAL_FILM.name}; for {OTHER_FILM.name} it is {difference:.1f} % larger. Give pixel_size if the film is "
            "of another metal.",
        )
    deviation = min(
        abs(stated_inv_angstrom * film.a_angstrom * fcc_unit_px - 1) for film in (USUAL_FILM, OTHER_FILM)
    )
    if deviation <= _SCALE_TOLERANCE:
        return ()
    return (
        f"The rings of the support film match {USUAL_FILM.name} if the pixel size is {size:.5g} 1/angstrom; the stated "
        f"{stated_inv_angstrom:.5g} was used. Check pixel_size.",
    )


def _compute_reach(counts: FloatImage, center: tuple[float, float]) -> int:
    """Return the radius of the largest whole circle; the corners hold too little of a ring."""
    return int(min(*center, *(np.array(counts.shape[::-1]) - 1 - center)))


def _compute_heights(counts: FloatImage, center: tuple[float, float]) -> FloatArray:
    """Return how far a low quantile at each whole radius exceeds that of its surroundings, over their noise.

    A ring lifts all pixels of a radius; the spots of a crystal, however many, leave some of them dark.
    """
    rows = np.arange(0, counts.shape[0], 2)
    x = np.arange(counts.shape[1], dtype=np.float32) - np.float32(center[0])
    y = rows.astype(np.float32) - np.float32(center[1])
    radius = np.rint(np.sqrt(x * x + (y * y)[:, None])).astype(np.int32).ravel()
    reach = _compute_reach(counts, center)
    inside = radius <= reach
    radius = radius[inside]
    value = sort_in_bins(radius, counts[rows].ravel()[inside])
    size = np.bincount(radius, minlength=reach + 1)
    start = np.cumsum(size) - size
    low, lower = (value[start + (size * each).astype(np.intp)].astype(np.float64) for each in _QUANTILES)
    noise = np.asarray(ndi.median_filter(low - lower, _SMOOTHING_PX))
    smooth = np.asarray(ndi.uniform_filter1d(low, 3))
    padded = np.pad(smooth, _BESIDE_RING_PX, mode="edge")
    beside = np.maximum(padded[: -2 * _BESIDE_RING_PX], padded[2 * _BESIDE_RING_PX :])
    return np.asarray((low - beside) / np.maximum(noise, 1e-9 * max(float(np.abs(low).max()), 1e-30)))


def _interpolate_maximum(height: FloatArray, at: int) -> float:
    """Return the position of a maximum, from the parabola through it and its neighbors."""
    before, top, after = height[at - 1 : at + 2]
    curvature = before - 2 * top + after
    if curvature >= 0:
        return float(at)
    return at + float(np.clip((before - after) / (2 * curvature), -0.5, 0.5))
