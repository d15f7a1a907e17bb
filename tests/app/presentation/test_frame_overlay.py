"""Gray levels of the picture of a frame."""

import numpy as np

from app.presentation.frame_overlay import _gray_levels
from model.pattern.frame import Frame


def test_noise_of_one_level_in_an_8_bit_frame_stays_dark() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, (256, 256)).astype(np.float32)
    counts[100:108, 100:108] = 40
    counts[200:208, 200:208] = 255
    levels = _gray_levels(Frame(counts, bit_depth=8), 1).astype(float)
    assert levels[counts <= 1].max() < 32
    assert levels[counts == 40].min() > 90
    assert levels[counts == 255].min() == 255


def test_a_frame_without_bright_spots_is_dark() -> None:
    noise = np.random.default_rng(0).poisson(100, (256, 256)).astype(np.float32)
    assert np.median(_gray_levels(Frame(noise), 1)) < 100
