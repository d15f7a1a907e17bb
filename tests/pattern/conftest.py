"""A renderer of camera frames with known truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rendered:
    """Counts with the truth: pixels of the spots (N, 2), integrated counts (N,), signal to noise (N,) and center."""

    counts: Array
    pixels: Array
    intensity: Array
    signal_to_noise: Array
    center: Array
    sigma: float
    pixel_size: float


def make_reciprocal_spots(
    rng: np.random.Generator, q_max: float, a_min: float, a_max: float
) -> tuple[Array, Array]:
    """Make spots of a random lattice within 1:1000 that fall off as those of atoms, with unequal Friedel mates."""
    a, b = rng.uniform(a_min, a_max, 2)
    gamma, angle = math.radians(rng.uniform(60, 120)), rng.uniform(0, 2 * math.pi)
    first = np.array([1 / a, 0]) / math.sin(gamma)
    second = np.array([math.cos(gamma), math.sin(gamma)]) / b / math.sin(gamma)
    order = math.ceil(q_max * a_max) + 1
    h, k = (m.ravel() for m in np.meshgrid(range(-order, order + 1), range(-order, order + 1)))
    q = h[:, None] * first + k[:, None] * second
    q = q @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    half = rng.normal(0, 1.2, (2 * order + 1, 2 * order + 1))
    log = (half + half[::-1, ::-1]).ravel() - 6.5 * np.hypot(*q.T) ** 0.8 + rng.normal(0, 0.25, len(q))
    length = np.hypot(*q.T)
    kept = (length > 1e-6) & (length < q_max)
    q, log = q[kept], log[kept] - log[kept].max()
    return q[log > math.log(1e-3)], np.exp(log[log > math.log(1e-3)])


def add_peak(image: Array, x: float, y: float, peak: float, sigma: float) -> None:
    reach = int(9 * sigma) + 2
    rows = slice(max(0, int(y) - reach), max(0, int(y) + reach + 1))
    columns = slice(max(0, int(x) - reach), max(0, int(x) + reach + 1))
    part = image[rows, columns]
    yy, xx = np.mgrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
    d2 = ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2
    part += peak * (0.94 * np.exp(-d2 / 2) + 0.06 / (1 + d2 / 5) ** 2)


def render_stop(shape: tuple[int, int], center: Array, radius: float, turn: float) -> NDArray[np.bool_]:
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    along = (xx - center[0]) * math.cos(turn) + (yy - center[1]) * math.sin(turn)
    across = (yy - center[1]) * math.cos(turn) - (xx - center[0]) * math.sin(turn)
    shadow: NDArray[np.bool_] = (np.hypot(along, across) < radius) | (
        (along > 0) & (abs(across) < radius / 2)
    )
    return shadow


def render_frame(
    seed: int,
    *,
    size: int = 512,
    sigma: float | None = None,
    stop: bool = False,
    direct: float = 1000.0,
    dose: float = 10_000.0,
    offset: float = 0.03,
    cell: tuple[float, float] = (2.4, 12.0),
) -> Rendered:
    """Render a frame of a random crystal.

    Args:
        seed: of the crystal and the noise.
        size: pixels of a side.
        sigma: standard deviation of the spots in pixels; random if absent.
        stop: whether there is a beam stop.
        direct: height of the direct beam over that of the strongest spot.
        dose: height of the strongest spot in counts.
        offset: how far the center may lie from the middle, in sides.
        cell: range of the lattice constants, angstrom.
    """
    rng = np.random.default_rng(seed)
    q_max = rng.uniform(1.1, 1.6)
    pixel_size = 2 * q_max / 0.96 / size
    sigma = sigma or rng.uniform(1.0, 4.5) * max(size / 1024, 0.6)
    center = size / 2 + rng.uniform(-offset, offset, 2) * size
    q, relative = make_reciprocal_spots(rng, q_max, *cell)
    pixels = center + q / pixel_size
    inside = ((pixels > 0) & (pixels < size - 1)).all(axis=1)
    pixels, relative = pixels[inside], relative[inside]
    image = np.zeros((size, size))
    for (x, y), peak in zip(pixels, relative, strict=True):
        add_peak(image, x, y, peak, sigma)
    yy, xx = np.mgrid[:size, :size]
    radius = np.hypot(xx - center[0], yy - center[1])
    background = rng.uniform(0.0005, 0.004) + rng.uniform(0.01, 0.06) * np.exp(
        -radius * pixel_size / rng.uniform(0.1, 0.35)
    )
    background += direct * 0.0015 / (1 + (radius / sigma / 3) ** 2) ** 1.6
    shadow = np.zeros(image.shape, dtype=bool)
    if stop:
        shadow = render_stop(
            (size, size), center, size * rng.uniform(0.02, 0.045), rng.uniform(0, 2 * math.pi)
        )
    counts = image + background + direct * np.exp(-((radius / sigma / 1.3) ** 2) / 2)
    counts = np.where(shadow, 0.3 * background.min(), counts) * dose
    counts = np.clip(rng.poisson(counts) + rng.normal(30, 2, image.shape), 0, 65535)
    local = background[np.round(pixels[:, 1]).astype(int), np.round(pixels[:, 0]).astype(int)]
    noise = np.sqrt((local + relative / 4) * dose + 4) * 2 * math.sqrt(math.pi) * sigma
    intensity = relative * dose * 2 * math.pi * sigma**2
    is_visible = ~shadow[np.round(pixels[:, 1]).astype(int), np.round(pixels[:, 0]).astype(int)]
    return Rendered(
        np.round(counts),
        pixels[is_visible],
        intensity[is_visible],
        (intensity / noise)[is_visible],
        center,
        sigma,
        pixel_size,
    )


@pytest.fixture
def render() -> Callable[..., Rendered]:
    return render_frame
