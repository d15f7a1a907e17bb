"""Hot pixels are removed, and spots are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.pattern.detection.spot_finding import locate_spots
from model.pattern.frame import Frame
from model.pattern.signal.preprocessing import remove_hot_pixels

SIDE = 256


def render(width: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = np.full((SIDE, SIDE), 20.0)
    positions = np.array(
        [[128 + 28 * h + 9 * k, 128 + 27 * k] for h in range(-3, 4) for k in range(-3, 4) if h or k]
    )
    for px, py in positions:
        height = 900 * np.exp(-np.hypot(px - 128, py - 128) / 60)
        counts += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * width**2))
    return rng.poisson(counts).astype(np.float32), positions.astype(float)


@pytest.mark.parametrize("width", [0.7, 1.5, 3.0])
def test_removes_hot_pixels_and_keeps_spots(width: float) -> None:
    counts, positions = render(width)
    assert (remove_hot_pixels(counts) != counts).sum() <= 2
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(3, SIDE - 3, (2, 30))
    apart = [np.hypot(*(positions - (x, y)).T).min() > 12 for y, x in zip(rows, columns, strict=True)]
    rows, columns = rows[apart], columns[apart]
    hot = counts.copy()
    hot[rows, columns] += rng.uniform(300, 20_000, len(rows)).astype(np.float32)
    cleaned = remove_hot_pixels(hot)
    assert cleaned[rows, columns].max() < 60
    # With the narrowest spots, one or two may pass as hot pixels.
    assert (cleaned != hot).sum() <= len(rows) + 2
    located = locate_spots(Frame(hot))
    assert np.hypot(located.center.x - 128, located.center.y - 128) < 0.3
    distance = np.linalg.norm(located.peaks.pixels[:, None] - positions, axis=2)
    assert (distance.min(axis=1) < 2).mean() > 0.95


def test_a_gradient_does_not_move_the_center() -> None:
    counts, _ = render(1.5)
    tilted = counts + 400 * np.linspace(0, 1, SIDE, dtype=np.float32)[:, None]
    located = locate_spots(Frame(tilted))
    assert np.hypot(located.center.x - 128, located.center.y - 128) < 0.4
