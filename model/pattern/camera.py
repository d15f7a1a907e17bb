"""Calibration of a camera: pixel size and projector distortion, measured with a reference material."""

import json
import re
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError

FloatArray = NDArray[np.float64]

MAX_ELLIPTICITY = 0.2
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class CameraCalibration:
    """A camera at one camera length.

    Attributes:
        pixel_size_inv_angstrom: 1/angstrom per pixel, averaged over all directions.
        ellipticity: axial ratio of the image of a circle, less 1.
        axis_deg: direction of the long axis, from x (right) toward y (down), 0 to 180.
        material: reference material.
        residual: robust relative deviation of the reference's spots or rings after the correction.
        shape: rows and columns of the reference frame. A frame of another size has another binning or camera.

    Raises:
        OptionError: A value is impossible.
    """

    pixel_size_inv_angstrom: float
    ellipticity: float = 0.0
    axis_deg: float = 0.0
    material: str = ""
    residual: float = 0.0
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        numbers = (self.pixel_size_inv_angstrom, self.ellipticity, self.axis_deg, self.residual)
        if not all(isinstance(number, int | float) and isfinite(number) for number in numbers):
            raise OptionError(
                "The camera calibration contains a value that is not a number; calibrate again."
            )
        if not 1e-6 <= self.pixel_size_inv_angstrom <= 1.0 or not 0 <= self.ellipticity <= MAX_ELLIPTICITY:
            raise OptionError(
                "The camera calibration contains impossible values; calibrate again with a reference pattern."
            )
        if self.shape is not None:
            object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))

    def check_frame(self, shape: tuple[int, int]) -> None:
        """Reject a frame whose size differs from that of the reference frame.

        Raises:
            OptionError: The size differs.
        """
        if self.shape is not None and self.shape != shape:
            raise OptionError(
                f"The camera calibration was made with a frame of {self.shape[1]} x {self.shape[0]} pixels and is not "
                f"valid for {shape[1]} x {shape[0]}; calibrate with this size and binning."
            )

    def correct_distortion(self, offsets_px: FloatArray) -> FloatArray:
        """Return offsets (N, 2) from the center as a camera without distortion would show them."""
        return self._stretch(offsets_px, 1 / np.sqrt(1 + self.ellipticity))

    def apply_distortion(self, offsets_px: FloatArray) -> FloatArray:
        """Return undistorted offsets (N, 2) from the center as this camera shows them."""
        return self._stretch(offsets_px, np.sqrt(1 + self.ellipticity))

    def _stretch(self, offsets_px: FloatArray, along: float) -> FloatArray:
        angle = np.radians(self.axis_deg)
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.asarray(offsets_px @ axes.T * [along, 1 / along] @ axes)

    def write(self, path: Path) -> None:
        """Write the calibration as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | None, name: str) -> Self:
        """Load a calibration from a folder by its name.

        Raises:
            OptionError: There is no such calibration; the message lists those that exist.
        """
        if folder is None:
            raise OptionError(
                "No camera calibrations are configured; set DD2D_CALIBRATIONS to the folder of `dd2d calibrate`."
            )
        path = folder / f"{name}.json"
        if not NAME_PATTERN.fullmatch(name) or not path.is_file():
            available = ", ".join(sorted(file.stem for file in folder.glob("*.json"))[:20]) or "none"
            raise OptionError(f"There is no camera calibration {name[:64]!r}; available: {available}.")
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError) as error:
            raise OptionError(f"The camera calibration {name} cannot be read; calibrate again.") from error
