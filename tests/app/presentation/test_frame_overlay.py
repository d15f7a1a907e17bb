"""How bright what is drawn of a frame."""

import numpy as np

from app.presentation.frame_overlay import _gray_levels
from model.pattern.frame import Frame


def test_noise_of_one_level_of_an_8_bit_picture_stays_dark() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 2, (256, 256)).astype(np.float32)
    levels[100:108, 100:108] = 40
    levels[200:208, 200:208] = 255
    grey = _gray_levels(Frame(levels, bit_depth=8), 1).astype(float)
    assert grey[levels <= 1].max() < 32
    assert grey[levels == 40].min() > 90
    assert grey[levels == 255].min() == 255


def test_a_frame_without_bright_places_is_dark() -> None:
    noise = np.random.default_rng(0).poisson(100, (256, 256)).astype(np.float32)
    assert np.median(_gray_levels(Frame(noise), 1)) < 100
