"""Powder rings are refused, smooth or of grains; dense patterns of a crystal are not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.detection.spot_finding import find_spots
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from tests.calibration.test_calibrate_camera import gold

SIDE = 512


def render(positions: NDArray[np.float64], heights: NDArray[np.float64]) -> Frame:
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = np.full((SIDE, SIDE), 20.0)
    for (px, py), height in zip(positions, heights, strict=True):
        counts += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4.5)
    return Frame(np.random.default_rng(0).poisson(counts).astype(np.float32))


def test_refuses_grains_on_rings() -> None:
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, 240)
    radius = np.repeat([88.0, 102.0, 144.0, 169.0], 60)
    positions = SIDE / 2 + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    with pytest.raises(NoSpotsError, match="the grains of a powder"):
        find_spots(render(positions, rng.uniform(60, 900, 240)), PatternOptions())


@pytest.mark.parametrize("pixel_size", [0.003, 0.004])
def test_refuses_smooth_rings(pixel_size: float) -> None:
    with pytest.raises(NoSpotsError, match=r"dd2d calibrate|stand out"):
        find_spots(gold(pixel_size, 0.0, 0.0), PatternOptions())


def test_accepts_a_hexagonal_crystal_with_many_spots() -> None:
    index = [(h, k) for h in range(-9, 10) for k in range(-9, 10) if (h or k) and abs(h + k) < 10]
    basis = 24 * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    offset = np.array(index) @ basis
    heights = 2000 * np.exp(-np.hypot(*offset.T) / 60)
    spots = find_spots(render(SIDE / 2 + offset, heights), PatternOptions())
    assert len(spots) > 100
