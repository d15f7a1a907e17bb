"""Peaks of an image: local maxima, and the Gaussians fitted to them."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from model.pattern.signal.preprocessing import BinnedImage

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

_HALF_WINDOW_SIGMAS = 3.0
_MAX_SHIFT_SIGMAS = 1.5
_MAX_PIXELS_AT_ONCE = 300_000


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks fitted with Gaussians of a common width on a sloping background.

    Attributes:
        pixels: (N, 2) x, y.
        amplitude: (N,) height above the local background.
        amplitude_error: (N,) standard error of the height, from the residuals in the window.
        saturated: (N,) whether saturated pixels were left out of the fit.
    """

    pixels: FloatArray
    amplitude: FloatArray
    amplitude_error: FloatArray
    saturated: BoolImage

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def at_positions(cls, pixels: FloatArray) -> "Peaks":
        """Make peaks of height zero at positions (N, 2) where nothing has been fitted yet."""
        zeros = np.zeros(len(pixels))
        return cls(pixels, zeros, zeros, zeros > 0)

    def join(self, other: "Peaks") -> "Peaks":
        """Return these peaks followed by others."""
        return Peaks(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.amplitude, other.amplitude]),
            np.concatenate([self.amplitude_error, other.amplitude_error]),
            np.concatenate([self.saturated, other.saturated]),
        )

    def estimate_position_sigma(self, sigma: float) -> FloatArray:
        """Return the standard uncertainty (N,) of each coordinate, for Gaussians of standard deviation `sigma`.

        In white noise it is sqrt(2) sigma times the relative uncertainty of the height (King, PASP 95, 163, 1983).
        """
        result: FloatArray = np.sqrt(2) * sigma * self.amplitude_error / np.maximum(self.amplitude, 1e-30)
        return result

    def take(self, which: NDArray[np.intp] | BoolImage | slice) -> "Peaks":
        """Return the peaks selected by a boolean mask, indices or a slice."""
        return Peaks(
            self.pixels[which], self.amplitude[which], self.amplitude_error[which], self.saturated[which]
        )


@dataclass(frozen=True, eq=False)
class DetectedPeaks:
    """The significant peaks of a frame, before its center is known.

    Attributes:
        usable: (H, W) pixels that no beam stop covers.
        peaks: all peaks; the direct beam may be among them.
        sigma: common Gaussian standard deviation of the peaks, in pixels.
        binned: the binned frame.
    """

    usable: BoolImage
    peaks: Peaks
    sigma: float
    binned: BinnedImage


def find_local_maxima(
    image: FloatImage, threshold: FloatImage | float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the pixels above the threshold that none of their eight neighbors exceeds.

    Args:
        image: (H, W).
        threshold: (H, W), or one for all pixels.
    """
    inner = image[1:-1, 1:-1]
    limit = np.broadcast_to(np.asarray(threshold, dtype=np.float32), image.shape)[1:-1, 1:-1]
    rows, columns = np.nonzero(inner > limit)
    value = inner[rows, columns]
    is_highest = np.ones(len(rows), dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                neighbor = image[rows + 1 + dy, columns + 1 + dx]
                # Of equal neighbors the last one counts.
                is_highest &= value > neighbor if (dy, dx) > (0, 0) else value >= neighbor
    return rows[is_highest] + 1, columns[is_highest] + 1


def cut_windows(
    image: FloatImage | BoolImage, pixels: FloatArray, half: int
) -> tuple[FloatArray, FloatArray, FloatArray, BoolImage]:
    """Cut square windows around positions.

    Args:
        image: (H, W).
        pixels: (N, 2) x, y.
        half: half width of a window; it has n = (2 half + 1)^2 pixels.

    Returns:
        Values (N, n), offsets dx and dy (N, n) from the position, and whether a pixel lies in the image (N, n).
    """
    step = np.arange(-half, half + 1)
    dy, dx = (m.ravel() for m in np.meshgrid(step, step, indexing="ij"))
    nearest = np.round(pixels).astype(np.intp)
    columns, rows = nearest[:, :1] + dx, nearest[:, 1:] + dy
    height, width = image.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    values = image[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)].astype(np.float64)
    return values, columns - pixels[:, :1], rows - pixels[:, 1:], inside


def estimate_spot_sigma(
    image: FloatImage, pixels: FloatArray, start: float, saturation_level: float | None
) -> float:
    """Estimate the common Gaussian standard deviation of spots in pixels, the median over the spots.

    Under a Gaussian weight of standard deviation s, a Gaussian of standard deviation sigma has the second moment
    m = sigma^2 s^2 / (sigma^2 + s^2); s follows sigma until both agree.

    Args:
        image: (H, W) counts.
        pixels: (N, 2) positions of the spots.
        start: first guess.
        saturation_level: spots with pixels from this level on are left out.
    """
    sigma = start
    for _ in range(4):
        half = max(2, round(_HALF_WINDOW_SIGMAS * sigma))
        values, dx, dy, inside = cut_windows(image, pixels, half)
        r2 = dx**2 + dy**2
        rim = inside & (r2 > (2.4 * sigma) ** 2)
        background = _compute_row_medians(values, rim)
        weight = np.exp(-r2 / (2 * sigma**2)) * inside * (values - background[:, None])
        moment = (weight * r2).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12) / 2
        is_good = (moment > 0.1) & (moment < 0.95 * sigma**2)  # hot pixels have less, other structures more
        if saturation_level is not None:
            is_good &= ~((values >= saturation_level) & inside & (r2 < (2 * sigma) ** 2)).any(axis=1)
        if is_good.sum() < 3:
            return sigma
        own = moment[is_good] * sigma**2 / (sigma**2 - moment[is_good])
        sigma = float(np.clip(np.sqrt(np.median(own)), 0.6, 2 * sigma))
    return sigma


def _compute_row_medians(values: FloatArray, which: BoolImage) -> FloatArray:
    """Return the lower median (N,) of the selected values of each row, NaN if there is none."""
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
    saturation_level: float | None = None,
    rendered: tuple[FloatImage, Peaks] | None = None,
    move: bool = True,
) -> Peaks:
    """Fit height and position of a Gaussian on a sloping background to each peak.

    Least squares, linear in height, background, its slopes and (by the derivatives of the Gaussian) the shift, iterated
    from the given positions. All unknowns share a window of three standard deviations.

    Args:
        image: (H, W) counts.
        pixels: (N, 2) first positions x, y.
        sigma: standard deviation of the Gaussians, in pixels.
        usable: (H, W) False where a beam stop covers the camera.
        saturation_level: pixels from this level on are left out.
        rendered: image of all peaks as fitted before, and those fits; neighbors are subtracted with it.
        move: whether positions are refined.
    """
    half = max(2, round(_HALF_WINDOW_SIGMAS * sigma))
    # Large cameras have wide spots, whose windows would not fit into memory at once.
    size = max(_MAX_PIXELS_AT_ONCE // (2 * half + 1) ** 2, 1)
    batches = [slice(first, first + size) for first in range(0, len(pixels), size)] or [slice(None)]
    fits = [
        _fit_batch(
            image,
            pixels[batch],
            sigma,
            half,
            usable,
            saturation_level,
            None if rendered is None else (rendered[0], rendered[1].take(batch)),
            move,
        )
        for batch in batches
    ]
    return reduce(Peaks.join, fits)


def _fit_batch(
    image: FloatImage,
    pixels: FloatArray,
    sigma: float,
    half: int,
    usable: BoolImage | None,
    saturation_level: float | None,
    rendered: tuple[FloatImage, Peaks] | None,
    move: bool,
) -> Peaks:
    start, position = pixels, pixels.copy()
    for step in range(3 if move else 1):
        values, dx, dy, inside = cut_windows(image, position, half)
        weight = inside & (dx**2 + dy**2 <= (_HALF_WINDOW_SIGMAS * sigma + 0.5) ** 2)
        if usable is not None:
            weight &= cut_windows(usable, position, half)[0] > 0.5
        saturated: BoolImage = np.zeros(len(position), dtype=bool)
        if saturation_level is not None:
            is_over = values >= saturation_level
            saturated = np.any(is_over & weight, axis=1)
            weight &= ~is_over
        if rendered is not None:
            picture, before = rendered
            own = before.pixels - position
            own_shape = np.exp(-((dx - own[:, :1]) ** 2 + (dy - own[:, 1:]) ** 2) / (2 * sigma**2))
            values = values - cut_windows(picture, position, half)[0] + before.amplitude[:, None] * own_shape
        solution, error = _solve(values, dx, dy, weight, sigma, shift=move and step < 2)
        amplitude = solution[:, 0]
        if move and step < 2:
            shift = solution[:, 4:6] / np.where(amplitude > 0, amplitude, np.inf)[:, None]
            position = position + np.clip(shift, -0.7 * sigma, 0.7 * sigma)
            is_away = np.linalg.norm(position - start, axis=1) > _MAX_SHIFT_SIGMAS * sigma + 1
            position[is_away] = start[is_away]
    return Peaks(position, amplitude, error, saturated)


def _solve(
    values: FloatArray, dx: FloatArray, dy: FloatArray, weight: BoolImage, sigma: float, *, shift: bool
) -> tuple[FloatArray, FloatArray]:
    """Return (N, 4 or 6) height, background, slopes and height times shift; (N,) standard error of the height."""
    gaussian = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    columns = [gaussian, np.ones_like(dx), dx, dy]
    if shift:
        columns += [gaussian * dx / sigma**2, gaussian * dy / sigma**2]
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


def render_peaks(shape: tuple[int, int], peaks: Peaks, sigma: float) -> FloatImage:
    """Return the sum (H, W) of the fitted Gaussians."""
    image = np.zeros(shape, dtype=np.float32)
    half = max(2, round(4 * sigma))
    step = np.arange(-half, half + 1)
    nearest = np.round(peaks.pixels).astype(int)
    dx = step - (peaks.pixels - nearest)[:, :1]
    dy = step - (peaks.pixels - nearest)[:, 1:]
    across = np.exp(-(dx**2) / (2 * sigma**2)).astype(np.float32)
    down = (np.exp(-(dy**2) / (2 * sigma**2)) * peaks.amplitude[:, None]).astype(np.float32)
    for (x, y), row, column in zip(nearest, across, down, strict=True):
        x0, x1 = max(0, x - half), min(shape[1], x + half + 1)
        y0, y1 = max(0, y - half), min(shape[0], y + half + 1)
        if x0 < x1 and y0 < y1:
            image[y0:y1, x0:x1] += np.outer(
                column[y0 - y + half : y1 - y + half], row[x0 - x + half : x1 - x + half]
            )
    return image
