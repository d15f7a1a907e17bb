"""Places in a frame that somebody points at, measured as the spots found in it are."""

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError
from model.pattern.frame import Frame
from model.pattern.signal.peaks import Peaks, fit_peaks
from model.pattern.spots import Spots

# What is pointed at lies within so many deviations of a spot.
_REACH = 3


def measure_peaks_at(frame: Frame, spots: Spots, pixels: NDArray[np.float64]) -> Peaks:
    """A Gaussian of the spots' width fitted at each place, from the brightest pixel beside it.

    Args:
        frame: as it was read.
        spots: found in it.
        pixels: (N, 2) x, y.

    Raises:
        OptionError: a place outside the frame.
    """
    assert spots.exposure is not None
    height, width = frame.shape
    inside = ((pixels >= 0) & (pixels <= [width - 1, height - 1])).all(axis=1)
    if not inside.all():
        raise OptionError(
            f"measure: {pixels[~inside][0].tolist()} lies outside the frame of {width} x {height} pixels"
        )
    sigma = spots.exposure.spot_sigma_px
    nearest = np.array(
        [_brightest(frame, x, y, max(round(_REACH * sigma / 2), 1)) for x, y in pixels.tolist()]
    )
    return fit_peaks(frame.counts, nearest.reshape(-1, 2), sigma, saturation=frame.saturation_level)


def _brightest(frame: Frame, x: float, y: float, half: int) -> tuple[float, float]:
    """x, y of the brightest pixel within a half width of a place."""
    column, row = max(round(x) - half, 0), max(round(y) - half, 0)
    window = frame.counts[row : round(y) + half + 1, column : round(x) + half + 1]
    down, across = np.unravel_index(window.argmax(), window.shape)
    return float(column + across), float(row + down)
