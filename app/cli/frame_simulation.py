"""Simulate the camera frame of a pattern: direct beam, Gaussian spots, uniform background and shot noise."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import OptionError
from model.pattern.spots import Spots

MIN_SIDE, MAX_SIDE = 64, 4096
SPOT_SIGMA_PX = 1.6
BACKGROUND_COUNTS = 20.0
SPOT_COUNTS = 2.0e5
DIRECT_BEAM_COUNTS = 4.0e5
_WINDOW_PX = 6


def simulate_png(spots: Spots, *, pixel_size_inv_angstrom: float, size: int, seed: int = 0) -> bytes:
    """Return the frame of `simulate_frame` as 16-bit PNG."""
    counts = simulate_frame(spots, pixel_size_inv_angstrom=pixel_size_inv_angstrom, size=size, seed=seed)
    buffer = io.BytesIO()
    Image.fromarray(counts).save(buffer, "PNG")
    return buffer.getvalue()


def simulate_frame(
    spots: Spots, *, pixel_size_inv_angstrom: float, size: int, seed: int = 0
) -> NDArray[np.uint16]:
    """Return the counts (size, size) of a frame with the direct beam in the middle.

    Args:
        spots: of the pattern; without intensities all are equally strong.
        pixel_size_inv_angstrom: 1/angstrom per pixel.
        size: pixels along a side.
        seed: of the noise.

    Raises:
        OptionError: size, pixel size or seed is out of range.
    """
    if not MIN_SIDE <= size <= MAX_SIDE:
        raise OptionError(f"The frame size is {size}; it must be {MIN_SIDE} to {MAX_SIDE} pixels.")
    if not 1e-6 <= pixel_size_inv_angstrom <= 1:
        raise OptionError(
            f"The pixel size is {pixel_size_inv_angstrom}; it must be 1e-6 to 1 1/angstrom per pixel."
        )
    if seed < 0:
        raise OptionError(f"The seed is {seed}; it must be 0 or more.")
    intensity = np.ones(len(spots)) if spots.intensity is None else spots.intensity
    center = size / 2
    counts = np.full((size, size), BACKGROUND_COUNTS)
    _add_spot(counts, center, center, DIRECT_BEAM_COUNTS)
    positions = spots.q_inv_angstrom / pixel_size_inv_angstrom + center
    for (x, y), relative in zip(positions, intensity, strict=True):
        _add_spot(counts, float(x), float(y), SPOT_COUNTS * float(relative))
    noisy = np.random.default_rng(seed).poisson(counts)
    return noisy.clip(0, 65535).astype(np.uint16)


def _add_spot(counts: NDArray[np.float64], x: float, y: float, total: float) -> None:
    """Add a Gaussian of `total` counts. The part outside the frame is lost."""
    columns, rows = (np.arange(round(at) - _WINDOW_PX, round(at) + _WINDOW_PX + 1) for at in (x, y))
    columns, rows = (index[(index >= 0) & (index < len(counts))] for index in (columns, rows))
    horizontal = np.exp(-0.5 * ((columns - x) / SPOT_SIGMA_PX) ** 2)
    vertical = np.exp(-0.5 * ((rows - y) / SPOT_SIGMA_PX) ** 2)
    counts[np.ix_(rows, columns)] += total * np.outer(vertical, horizontal) / (2 * np.pi * SPOT_SIGMA_PX**2)
