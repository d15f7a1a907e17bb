"""Local maxima of an image, and what a spot at each amounts to."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

_WINDOW = 3.0  # half width of a spot's window in deviations of the spot
_LARGEST_SHIFT = 1.5
_MOST_AT_ONCE = 300_000


@dataclass(frozen=True, eq=False)
class Peaks:
    """Spots fitted with one common Gaussian on a sloping ground.

    Attributes:
        pixels: (N, 2) x, y.
        amplitude: (N,) height over the local ground.
        amplitude_error: (N,) its standard error from the residuals in the window.
        clipped: (N,) whether saturated pixels had to be left out of the fit.
    """

    pixels: FloatArray
    amplitude: FloatArray
    amplitude_error: FloatArray
    clipped: BoolImage

    def __len__(self) -> int:
        return len(self.pixels)

    def position_error(self, sigma: float) -> FloatArray:
        """(N,) standard error of each coordinate, of Gaussians of deviation `sigma` in white noise.

        Both errors follow from the same noise: that of a coordinate is sqrt(2) sigma times the relative one of the
        height (King, PASP 95, 163, 1983).
        """
        error: FloatArray = np.sqrt(2) * sigma * self.amplitude_error / np.maximum(self.amplitude, 1e-30)
        return error

    @classmethod
    def unknown(cls, pixels: FloatArray) -> "Peaks":
        """At places where nothing was measured yet."""
        nothing = np.zeros(len(pixels))
        return cls(pixels, nothing, nothing, nothing > 0)

    def and_(self, other: "Peaks") -> "Peaks":
        """These and others."""
        return Peaks(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.amplitude, other.amplitude]),
            np.concatenate([self.amplitude_error, other.amplitude_error]),
            np.concatenate([self.clipped, other.clipped]),
        )

    def take(self, which: NDArray[np.intp] | BoolImage | slice) -> "Peaks":
        """The peaks of a boolean mask, of indices or of a slice."""
        return Peaks(
            self.pixels[which], self.amplitude[which], self.amplitude_error[which], self.clipped[which]
        )


def local_maxima(
    image: FloatImage, threshold: FloatImage | float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels above the threshold that none of their eight neighbours exceeds."""
    inner = image[1:-1, 1:-1]
    limit = np.broadcast_to(np.asarray(threshold, dtype=np.float32), image.shape)[1:-1, 1:-1]
    rows, columns = np.nonzero(inner > limit)
    value = inner[rows, columns]
    highest = np.ones(len(rows), dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                neighbour = image[rows + 1 + dy, columns + 1 + dx]
                # Of a plateau's pixels the last is taken.
                highest &= value > neighbour if (dy, dx) > (0, 0) else value >= neighbour
    return rows[highest] + 1, columns[highest] + 1


def windows(
    image: FloatImage | BoolImage, pixels: FloatArray, half: int
) -> tuple[FloatArray, FloatArray, FloatArray, BoolImage]:
    """The pixels around each position.

    Returns:
        values (N, n), offsets dx and dy (N, n) from the position, and whether a pixel lies in the frame (N, n).
    """
    step = np.arange(-half, half + 1)
    dy, dx = (m.ravel() for m in np.meshgrid(step, step, indexing="ij"))
    nearest = np.round(pixels).astype(np.intp)
    columns, rows = nearest[:, :1] + dx, nearest[:, 1:] + dy
    height, width = image.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    values = image[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)].astype(np.float64)
    return values, columns - pixels[:, :1], rows - pixels[:, 1:], inside


def spot_sigma(image: FloatImage, pixels: FloatArray, start: float, saturation: float | None) -> float:
    """The spots' common Gaussian deviation in pixels, the median of the spots' own.

    Under a Gaussian weight of deviation s a Gaussian of deviation sigma has the second moment
    m = sigma^2 s^2 / (sigma^2 + s^2); s follows sigma until they agree.
    """
    sigma = start
    for _ in range(4):
        half = max(2, round(_WINDOW * sigma))
        values, dx, dy, inside = windows(image, pixels, half)
        r2 = dx**2 + dy**2
        rim = inside & (r2 > (2.4 * sigma) ** 2)
        ground = _medians(values, rim)
        weight = np.exp(-r2 / (2 * sigma**2)) * inside * (values - ground[:, None])
        moment = (weight * r2).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12) / 2
        good = (moment > 0.1) & (moment < 0.95 * sigma**2)  # less is a hot pixel, more no spot
        if saturation is not None:
            good &= ~((values >= saturation) & inside & (r2 < (2 * sigma) ** 2)).any(axis=1)
        if good.sum() < 3:
            return sigma
        own = moment[good] * sigma**2 / (sigma**2 - moment[good])
        sigma = float(np.clip(np.sqrt(np.median(own)), 0.6, 2 * sigma))
    return sigma


def _medians(values: FloatArray, which: BoolImage) -> FloatArray:
    """(N,) lower median of the chosen ones of each row, NaN where there is none."""
    ordered = np.sort(np.where(which, values, np.inf), axis=1)
    middle = np.maximum(which.sum(axis=1) - 1, 0) // 2
    median = ordered[np.arange(len(values)), middle]
    return np.where(np.isfinite(median), median, np.nan)


def fit_peaks(
    image: FloatImage,
    pixels: FloatArray,
    sigma: float,
    *,
    usable: BoolImage | None = None,
    saturation: float | None = None,
    drawn: tuple[FloatImage, Peaks] | None = None,
    move: bool = True,
) -> Peaks:
    """Fit height and position of a Gaussian of deviation `sigma` on a sloping ground to each spot.

    Linear least squares in height, ground, its slopes and (by the Gaussian's derivatives) the shift, iterated
    from the given positions; the unknowns share one window of three deviations.

    Args:
        image: (H, W) counts.
        pixels: (N, 2) first positions x, y.
        sigma: of the spots, in pixels.
        usable: (H, W) False where a beam stop covers the camera.
        saturation: pixels from this level on are left out.
        drawn: picture of all spots as fitted before, and those fits: neighbours are taken off by it.
        move: whether positions are refined.
    """
    half = max(2, round(_WINDOW * sigma))
    most = max(_MOST_AT_ONCE // (2 * half + 1) ** 2, 1)
    if len(pixels) > most:  # large cameras have wide spots, whose windows would not fit in memory at once
        parts = [slice(first, first + most) for first in range(0, len(pixels), most)]
        each = [
            fit_peaks(
                image,
                pixels[part],
                sigma,
                usable=usable,
                saturation=saturation,
                drawn=None if drawn is None else (drawn[0], drawn[1].take(part)),
                move=move,
            )
            for part in parts
        ]
        return reduce(Peaks.and_, each)
    start, position = pixels, pixels.copy()
    for step in range(3 if move else 1):
        values, dx, dy, inside = windows(image, position, half)
        weight = inside & (dx**2 + dy**2 <= (_WINDOW * sigma + 0.5) ** 2)
        if usable is not None:
            weight &= windows(usable, position, half)[0] > 0.5
        clipped: BoolImage = np.zeros(len(position), dtype=bool)
        if saturation is not None:
            over = values >= saturation
            clipped = np.any(over & weight, axis=1)
            weight &= ~over
        if drawn is not None:
            picture, before = drawn
            own = before.pixels - position
            itself = np.exp(-((dx - own[:, :1]) ** 2 + (dy - own[:, 1:]) ** 2) / (2 * sigma**2))
            values = values - windows(picture, position, half)[0] + before.amplitude[:, None] * itself
        solution, error = _solve(values, dx, dy, weight, sigma, shift=move and step < 2)
        amplitude = solution[:, 0]
        if move and step < 2:
            shift = solution[:, 4:6] / np.where(amplitude > 0, amplitude, np.inf)[:, None]
            position = position + np.clip(shift, -0.7 * sigma, 0.7 * sigma)
            away = np.linalg.norm(position - start, axis=1) > _LARGEST_SHIFT * sigma + 1
            position[away] = start[away]
    return Peaks(position, amplitude, error, clipped)


def _solve(
    values: FloatArray, dx: FloatArray, dy: FloatArray, weight: BoolImage, sigma: float, *, shift: bool
) -> tuple[FloatArray, FloatArray]:
    """(N, 4 or 6) height, ground, slopes and height times shift; (N,) standard error of the height."""
    shape = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    columns = [shape, np.ones_like(dx), dx, dy]
    if shift:
        columns += [shape * dx / sigma**2, shape * dy / sigma**2]
    design = np.stack(columns, axis=2) * weight[..., None]  # (N, n, unknowns)
    normal = design.swapaxes(1, 2) @ design
    normal += 1e-9 * np.eye(len(columns)) * np.trace(normal, axis1=1, axis2=2)[
        :, None, None
    ] + 1e-12 * np.eye(len(columns))
    inverse = np.linalg.inv(normal)
    data = np.where(weight, values, 0.0)
    solution = (inverse @ (design.swapaxes(1, 2) @ data[..., None]))[..., 0]
    residual = data - (design @ solution[..., None])[..., 0]
    freedom = np.maximum(weight.sum(axis=1) - len(columns), 1)
    variance = (residual**2).sum(axis=1) / freedom
    return solution, np.sqrt(variance * inverse[:, 0, 0])


def draw_peaks(shape: tuple[int, int], peaks: Peaks, sigma: float) -> FloatImage:
    """(H, W) the sum of the fitted Gaussians."""
    drawn = np.zeros(shape, dtype=np.float32)
    half = max(2, round(4 * sigma))
    step = np.arange(-half, half + 1)
    nearest = np.round(peaks.pixels).astype(int)
    dx = step - (peaks.pixels - nearest)[:, :1]
    dy = step - (peaks.pixels - nearest)[:, 1:]
    across = np.exp(-(dx**2) / (2 * sigma**2)).astype(np.float32)
    down = (np.exp(-(dy**2) / (2 * sigma**2)) * peaks.amplitude[:, None]).astype(np.float32)
    for (x, y), row, column in zip(nearest, across, down, strict=True):
        x0, x1, y0, y1 = (
            max(0, x - half),
            min(shape[1], x + half + 1),
            max(0, y - half),
            min(shape[0], y + half + 1),
        )
        if x0 < x1 and y0 < y1:
            drawn[y0:y1, x0:x1] += np.outer(
                column[y0 - y + half : y1 - y + half], row[x0 - x + half : x1 - x + half]
            )
    return drawn
