"""What the user says about a pattern."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from model.errors import OptionError
from model.pattern.camera import CameraCalibration
from model.pattern.spots import DEFAULT_SCALE_SIGMA, Calibration

Units = Literal["1/angstrom", "1/nm", "pixel"]
Choice = int | Literal["sum"] | range | None
"""Number of the image of a file from 0, the sum of all, several of them (readers only), or None for the first."""
SCALE_SIGMA_RANGE = (0.0005, 0.03)
# Of a camera that `dd2d calibrate` has measured, which the lenses' hysteresis leaves; and of gold rings in the frame.
CALIBRATED_SCALE_SIGMA, RING_SCALE_SIGMA = 0.005, 0.004


@dataclass(frozen=True)
class PatternOptions:
    """How to read a pattern; None leaves a value to the file, or to be found.

    Attributes:
        units: of the positions of a point cloud; those of a camera frame are pixels.
        pixel_size_inv_angstrom: 1/angstrom per pixel, overrides what the file says.
        center_px: x, y of the direct beam in pixels: x right, y down, the first pixel's middle at 0, 0.
        frame: which of a file's images, from 0, or "sum" for all of them.
        camera: by a reference pattern; its scale stands after `pixel_size_inv_angstrom` and before the file's.
        scale_sigma: rms error of the scale, as a fraction; by where the scale comes from if None.

    Raises:
        OptionError: a value that is impossible.
    """

    units: Units | None = None
    pixel_size_inv_angstrom: float | None = None
    center_px: tuple[float, float] | None = None
    frame: Choice = None
    camera: CameraCalibration | None = None
    scale_sigma: float | None = None

    def __post_init__(self) -> None:
        if self.units is not None and self.units not in get_args(Units):
            raise OptionError(f"units must be one of {', '.join(get_args(Units))}, not {self.units!r}")
        size = self.pixel_size_inv_angstrom
        if size is not None and not (isfinite(size) and 1e-6 <= size <= 1.0):
            raise OptionError(f"pixel_size must lie between 1e-6 and 1 1/angstrom per pixel, not {size}")
        sigma, (least, most) = self.scale_sigma, SCALE_SIGMA_RANGE
        if sigma is not None and not least <= sigma <= most:
            raise OptionError(f"scale_sigma is a fraction between {least} and {most}, not {sigma}")
        center = self.center_px
        if center is not None and not (len(center) == 2 and all(isfinite(c) for c in center)):
            raise OptionError(f"center must be two finite numbers x, y in pixels, not {center}")
        if isinstance(self.frame, int) and self.frame < 0:
            raise OptionError(f"frame counts from 0, not {self.frame}")

    def scale_sigma_for(self, calibration: Calibration) -> float:
        """rms error of the logarithm of a pattern's scale: as given, or as known where it comes from."""
        if self.scale_sigma is not None:
            return self.scale_sigma
        if calibration == "rings":
            return RING_SCALE_SIGMA
        calibrated = self.camera is not None and self.pixel_size_inv_angstrom is None
        return CALIBRATED_SCALE_SIGMA if calibrated else DEFAULT_SCALE_SIGMA
