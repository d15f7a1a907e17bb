"""How to read a pattern: the options that the user gives."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from model.errors import OptionError
from model.pattern.camera import CameraCalibration
from model.pattern.scale import Units
from model.pattern.spots import DEFAULT_SCALE_SIGMA, Calibration

FrameSelection = int | Literal["sum"] | range | None
"""Which image of a file: its number from 0, the sum of all, several (readers only), or None for the first."""
SCALE_SIGMA_RANGE = (0.0005, 0.03)
CALIBRATED_SCALE_SIGMA = 0.005
"""rms error of the scale of a camera that `dd2d calibrate` measured; hysteresis of the lenses causes it."""
RING_SCALE_SIGMA = 0.004
"""rms error of a scale from the rings of a gold film in the frame."""


@dataclass(frozen=True)
class PatternOptions:
    """How to read a pattern. None means that a value is taken from the file or determined from the pattern.

    Attributes:
        units: units of the positions of a point cloud. Positions in a frame are in pixels.
        pixel_size_inv_angstrom: 1/angstrom per pixel; overrides the file and the camera calibration.
        center_px: x, y of the direct beam in pixels, x right and y down; the center of the first pixel is 0, 0.
        frame: which image of a file, from 0, or "sum" for the sum of all.
        camera: calibration of the camera; its scale overrides the file's.
        scale_sigma: rms error of the scale, as a fraction; None for the default of the scale's source.

    Raises:
        OptionError: A value is impossible.
    """

    units: Units | None = None
    pixel_size_inv_angstrom: float | None = None
    center_px: tuple[float, float] | None = None
    frame: FrameSelection = None
    camera: CameraCalibration | None = None
    scale_sigma: float | None = None

    def __post_init__(self) -> None:
        if self.units is not None and self.units not in get_args(Units):
            raise OptionError(f"units must be one of {', '.join(get_args(Units))}, not {self.units!r}.")
        size = self.pixel_size_inv_angstrom
        if size is not None and not (isfinite(size) and 1e-6 <= size <= 1.0):
            raise OptionError(f"pixel_size must lie between 1e-6 and 1 1/angstrom per pixel; it is {size}.")
        sigma, (smallest, largest) = self.scale_sigma, SCALE_SIGMA_RANGE
        if sigma is not None and not smallest <= sigma <= largest:
            raise OptionError(
                f"scale_sigma must be a fraction between {smallest} and {largest}; it is {sigma}."
            )
        center = self.center_px
        if center is not None and not (len(center) == 2 and all(isfinite(c) for c in center)):
            raise OptionError(f"center must be two finite numbers x, y in pixels; it is {center}.")
        if isinstance(self.frame, int) and self.frame < 0:
            raise OptionError(f"frame must be 0 or more; it is {self.frame}.")

    def choose_scale_sigma(self, calibration: Calibration) -> float:
        """Return the rms error of the logarithm of a scale: as given, or the default of the scale's source."""
        if self.scale_sigma is not None:
            return self.scale_sigma
        if calibration == "rings":
            return RING_SCALE_SIGMA
        is_calibrated = self.camera is not None and self.pixel_size_inv_angstrom is None
        return CALIBRATED_SCALE_SIGMA if is_calibrated else DEFAULT_SCALE_SIGMA
