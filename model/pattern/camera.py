"""What a reference pattern told of a camera: the size of a pixel and the distortion of the projector."""

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
        pixel_size_inv_angstrom: 1/angstrom per pixel, the mean over all directions.
        ellipticity: ratio of the axes of a circle's image, less 1.
        axis_deg: direction of its long axis, from x (right) towards y (down), 0 to 180.
        material: of the reference.
        residual: robust relative deviation of the reference's spots or rings after the correction.
        shape: rows and columns of the reference's frame; another size means another binning, or another camera.

    Raises:
        OptionError: values that are impossible.
    """

    pixel_size_inv_angstrom: float
    ellipticity: float = 0.0
    axis_deg: float = 0.0
    material: str = ""
    residual: float = 0.0
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        numbers = (self.pixel_size_inv_angstrom, self.ellipticity, self.axis_deg, self.residual)
        if not all(isinstance(each, int | float) and isfinite(each) for each in numbers):
            raise OptionError("calibration: holds something that is no number; calibrate again")
        if not 1e-6 <= self.pixel_size_inv_angstrom <= 1.0 or not 0 <= self.ellipticity <= MAX_ELLIPTICITY:
            raise OptionError(
                "calibration: its values are impossible; calibrate again with a reference pattern"
            )
        if self.shape is not None:
            object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))

    def check_frame(self, shape: tuple[int, int]) -> None:
        """Refuse a frame of another size than the reference's.

        Raises:
            OptionError: it has another size.
        """
        if self.shape is not None and self.shape != shape:
            raise OptionError(
                f"calibration: it was made with a frame of {self.shape[1]} x {self.shape[0]} pixels and does not "
                f"hold for {shape[1]} x {shape[0]}; calibrate with this size and binning"
            )

    def correct_distortion(self, offsets_px: FloatArray) -> FloatArray:
        """Offsets (N, 2) from the centre as a camera without distortion would show them."""
        return self._stretched(offsets_px, 1 / np.sqrt(1 + self.ellipticity))

    def apply_distortion(self, offsets_px: FloatArray) -> FloatArray:
        """Offsets (N, 2) from the centre as this camera shows them; undoes `correct_distortion`."""
        return self._stretched(offsets_px, np.sqrt(1 + self.ellipticity))

    def _stretched(self, offsets_px: FloatArray, along: float) -> FloatArray:
        turn = np.radians(self.axis_deg)
        axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return np.asarray(offsets_px @ axes.T * [along, 1 / along] @ axes)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | None, name: str) -> Self:
        """The calibration of this name in a folder.

        Raises:
            OptionError: no such calibration; the message names those that there are.
        """
        if folder is None:
            raise OptionError(
                "calibration: none are kept here; set DD2D_CALIBRATIONS to the folder of `dd2d calibrate`"
            )
        path = folder / f"{name}.json"
        if not NAME_PATTERN.fullmatch(name) or not path.is_file():
            known = ", ".join(sorted(each.stem for each in folder.glob("*.json"))[:20]) or "none"
            raise OptionError(f"calibration: there is no {name[:64]!r}; there are: {known}")
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError) as error:
            raise OptionError(f"calibration: {name} cannot be read; calibrate again") from error
