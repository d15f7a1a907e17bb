"""Pixels that count by themselves are no spots, and spots are no hot pixels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.pattern.detection.spot_finding import locate_spots
from model.pattern.frame import Frame
from model.pattern.signal.hot_pixels import without_hot_pixels

SIDE = 256


def pattern(width: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = np.full((SIDE, SIDE), 20.0)
    places = np.array(
        [[128 + 28 * h + 9 * k, 128 + 27 * k] for h in range(-3, 4) for k in range(-3, 4) if h or k]
    )
    for px, py in places:
        height = 900 * np.exp(-np.hypot(px - 128, py - 128) / 60)
        counts += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * width**2))
    return rng.poisson(counts).astype(np.float32), places.astype(float)


@pytest.mark.parametrize("width", [0.7, 1.5, 3.0])
def test_hot_pixels_go_and_spots_stay(width: float) -> None:
    counts, places = pattern(width)
    assert (without_hot_pixels(counts) != counts).sum() <= 2
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(3, SIDE - 3, (2, 30))
    apart = [np.hypot(*(places - (x, y)).T).min() > 12 for y, x in zip(rows, columns, strict=True)]
    rows, columns = rows[apart], columns[apart]
    hot = counts.copy()
    hot[rows, columns] += rng.uniform(300, 20_000, len(rows)).astype(np.float32)
    cleaned = without_hot_pixels(hot)
    assert cleaned[rows, columns].max() < 60
    # Of the narrowest spots the noise may take one or two for hot pixels.
    assert (cleaned != hot).sum() <= len(rows) + 2
    found = locate_spots(Frame(hot))
    assert np.hypot(found.center.x - 128, found.center.y - 128) < 0.3
    off = np.linalg.norm(found.peaks.pixels[:, None] - places, axis=2)
    assert (off.min(axis=1) < 2).mean() > 0.95


def test_a_gradient_over_the_frame_is_no_centre() -> None:
    counts, _ = pattern(1.5)
    tilted = counts + 400 * np.linspace(0, 1, SIDE, dtype=np.float32)[:, None]
    found = locate_spots(Frame(tilted))
    assert np.hypot(found.center.x - 128, found.center.y - 128) < 0.4
