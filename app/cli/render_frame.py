"""A camera frame of computed spots: what a user without a microscope can try the frame path with."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import OptionError
from model.pattern.spots import Spots

SPOT_WIDTH_PX = 1.6
BACKGROUND_COUNTS = 20.0
SPOT_COUNTS = 2.0e5
DIRECT_BEAM_COUNTS = 4.0e5
LARGEST_SIDE = 4096
_REACH = 6


def png_frame(spots: Spots, *, pixel_size_inv_angstrom: float, size: int, seed: int = 0) -> bytes:
    """A 16-bit PNG of `counted_frame`."""
    counts = counted_frame(spots, pixel_size_inv_angstrom=pixel_size_inv_angstrom, size=size, seed=seed)
    buffer = io.BytesIO()
    Image.fromarray(counts).save(buffer, "PNG")
    return buffer.getvalue()


def counted_frame(
    spots: Spots, *, pixel_size_inv_angstrom: float, size: int, seed: int = 0
) -> NDArray[np.uint16]:
    """(size, size) counts with the direct beam in its middle, Gaussian spots and shot noise.

    Args:
        spots: without an intensity all are equally strong.
        pixel_size_inv_angstrom: 1/angstrom per pixel.
        size: pixels along a side.
        seed: of the noise; the same gives the same frame.

    Raises:
        OptionError: an impossible size or seed.
    """
    if not 64 <= size <= LARGEST_SIDE:
        raise OptionError(f"size is {size}; give 64 to {LARGEST_SIDE} pixels along a side")
    if not 1e-6 <= pixel_size_inv_angstrom <= 1:
        raise OptionError(f"pixel size is {pixel_size_inv_angstrom}; give 1e-6 to 1 1/angstrom per pixel")
    if seed < 0:
        raise OptionError(f"seed is {seed}; give 0 or more")
    intensity = np.ones(len(spots)) if spots.intensity is None else spots.intensity
    middle = size / 2
    counts = np.full((size, size), BACKGROUND_COUNTS)
    _add_spot(counts, middle, middle, DIRECT_BEAM_COUNTS)
    for (x, y), strength in zip(
        spots.q_inv_angstrom / pixel_size_inv_angstrom + middle, intensity, strict=True
    ):
        _add_spot(counts, float(x), float(y), SPOT_COUNTS * float(strength))
    noisy = np.random.default_rng(seed).poisson(counts)
    return noisy.clip(0, 65535).astype(np.uint16)


def _add_spot(
    counts: np.ndarray[tuple[int, int], np.dtype[np.float64]], x: float, y: float, total: float
) -> None:
    """Add a Gaussian that holds `total` counts; what lies outside the frame is lost."""
    columns, rows = (np.arange(round(at) - _REACH, round(at) + _REACH + 1) for at in (x, y))
    columns, rows = (index[(index >= 0) & (index < len(counts))] for index in (columns, rows))
    across = np.exp(-0.5 * ((columns - x) / SPOT_WIDTH_PX) ** 2)
    down = np.exp(-0.5 * ((rows - y) / SPOT_WIDTH_PX) ** 2)
    counts[np.ix_(rows, columns)] += total * np.outer(down, across) / (2 * np.pi * SPOT_WIDTH_PX**2)
