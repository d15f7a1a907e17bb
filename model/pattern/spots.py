"""The measured spots of one diffraction pattern."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.pattern.camera import CameraCalibration

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Calibration = Literal["request", "file", "rings", "unknown"]
CenterMethod = Literal["symmetry", "request", "extrapolated"]

MIN_SPOTS = 3
DIRECT_BEAM_RADIUS_INV_ANGSTROM = 0.03
"""A spot closer to the center belongs to the direct beam."""
DEFAULT_SCALE_SIGMA = 0.013
"""rms error of the logarithm of an unchecked camera's scale: such scales are good to 1 to 3 %."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """How the spots of a camera frame were measured.

    Attributes:
        position_sigma_px: (N,) standard uncertainty of each coordinate of a spot.
        intensity_sigma: (N,) standard uncertainty, in the units of the intensities.
        saturated: (N,) whether a spot has saturated pixels; its intensity is estimated from the other pixels.
        spot_sigma_px: common Gaussian standard deviation of the spots.
        center_method: whether the center is that of inversion symmetry, was given by the request, or was extrapolated
            from how the spots and the background fall off.
        pairs: number of Friedel pairs about the center.
        paired_fraction: share of the spots that have a Friedel mate, among those whose mate would lie in the frame.
            Strong spots weigh more.
        beam_stop: whether a beam stop shadows part of the frame.
        shape: rows and columns of the frame.
        source_format: format of the file.
        camera: calibration whose distortion was removed from the positions.
        center_probability: probability that the center is right, where it was extrapolated or is in doubt.
    """

    position_sigma_px: FloatArray
    intensity_sigma: FloatArray
    saturated: BoolArray
    spot_sigma_px: float
    center_method: CenterMethod
    pairs: int
    paired_fraction: float
    beam_stop: bool
    shape: tuple[int, int]
    source_format: str
    camera: CameraCalibration | None = None
    center_probability: float | None = None

    def take(self, rows: BoolArray) -> "Exposure":
        """Return the exposure of the spots at these rows."""
        return replace(
            self,
            position_sigma_px=self.position_sigma_px[rows],
            intensity_sigma=self.intensity_sigma[rows],
            saturated=self.saturated[rows],
        )


@dataclass(frozen=True, eq=False)
class Spots:
    """Diffraction spots relative to the direct beam, which is not among them.

    Attributes:
        q_inv_angstrom: (N, 2) in-plane scattering vectors, 1/angstrom (|q| = 1/d).
        intensity: (N,) positive integrated intensities on any scale; None if only the geometry is known.
        pixels: (N, 2) x, y on the camera; None for a pattern without a camera.
        center_px: x, y of the direct beam on the camera, or None.
        pixel_size_inv_angstrom: size of a pixel; None for a pattern without a camera.
        calibration: source of the scale.
        scale_is_known: False where the pixel size is nominal because the true one is unknown.
        scale_sigma: rms error of the logarithm of a known scale.
        voltage_kv: accelerating voltage as the file states it, or None.
        warnings: sentences for the user; each says what was assumed and what to do about it.
        exposure: how the spots of a frame were measured; None for points.
        masks_inv_angstrom: (H, 4) masked rectangles: x and y of the lower and of the upper corner.

    Raises:
        NoSpotsError: There are fewer than three spots.
        OptionError: Arrays disagree in length, or values are not finite.
    """

    q_inv_angstrom: FloatArray
    intensity: FloatArray | None = None
    pixels: FloatArray | None = None
    center_px: tuple[float, float] | None = None
    pixel_size_inv_angstrom: float | None = None
    calibration: Calibration = "request"
    scale_is_known: bool = True
    scale_sigma: float = DEFAULT_SCALE_SIGMA
    voltage_kv: float | None = None
    warnings: tuple[str, ...] = ()
    exposure: Exposure | None = None
    masks_inv_angstrom: FloatArray = field(default_factory=lambda: np.empty((0, 4)))

    def __post_init__(self) -> None:
        q = np.array(self.q_inv_angstrom, dtype=np.float64)
        if q.ndim != 2 or q.shape[1] != 2:
            raise OptionError(f"Spots need positions of shape (N, 2), not {q.shape}.")
        if len(q) < MIN_SPOTS:
            raise NoSpotsError(
                f"The pattern has {len(q)} spots besides the direct beam; at least {MIN_SPOTS} are needed."
            )
        arrays = {"q_inv_angstrom": q}
        if self.intensity is not None:
            arrays["intensity"] = np.array(self.intensity, dtype=np.float64)
        if self.pixels is not None:
            arrays["pixels"] = np.array(self.pixels, dtype=np.float64)
        for name, array in arrays.items():
            if len(array) != len(q):
                raise OptionError(f"{name} has {len(array)} rows, but there are {len(q)} spots.")
            if not np.isfinite(array).all():
                raise OptionError(f"{name} contains a value that is not finite.")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.intensity is not None and (self.intensity <= 0).any():
            raise OptionError("Intensities must be positive; leave out intensities that are not known.")

    def __len__(self) -> int:
        return len(self.q_inv_angstrom)

    def project_to_pixels(self, q_inv_angstrom: FloatArray) -> FloatArray:
        """Return the positions of scattering vectors on the camera.

        Args:
            q_inv_angstrom: (N, 2).

        Returns:
            (N, 2) x, y in pixels.

        Raises:
            OptionError: The pattern has no camera.
        """
        if self.center_px is None or self.pixel_size_inv_angstrom is None:
            raise OptionError("The pattern is a list of scattering vectors and has no camera.")
        offsets = q_inv_angstrom / self.pixel_size_inv_angstrom
        camera = None if self.exposure is None else self.exposure.camera
        return np.asarray(self.center_px + (offsets if camera is None else camera.apply_distortion(offsets)))

    def take(self, rows: BoolArray) -> Self:
        """Return the pattern with only the spots in these rows.

        Raises:
            NoSpotsError: Fewer than three spots are left.
        """
        return replace(
            self,
            q_inv_angstrom=self.q_inv_angstrom[rows],
            intensity=None if self.intensity is None else self.intensity[rows],
            pixels=None if self.pixels is None else self.pixels[rows],
            exposure=None if self.exposure is None else self.exposure.take(rows),
        )

    def rescale(self, factor: float) -> Self:
        """Return the pattern with all lengths in reciprocal space multiplied by a factor."""
        size = self.pixel_size_inv_angstrom
        return replace(
            self,
            q_inv_angstrom=self.q_inv_angstrom * factor,
            pixel_size_inv_angstrom=None if size is None else size * factor,
            masks_inv_angstrom=self.masks_inv_angstrom * factor,
        )


def mask_spots(spots: Spots, rectangles: FloatArray) -> Spots:
    """Remove the spots in masked rectangles, and record the rectangles so that no reflection counts as missing there.

    Args:
        spots: the pattern.
        rectangles: (H, 4) two opposite corners, in pixels for a pattern with a camera, otherwise in 1/angstrom.

    Raises:
        NoSpotsError: Fewer than three spots are left.
    """
    low, high = (
        np.minimum(rectangles[:, :2], rectangles[:, 2:]),
        np.maximum(rectangles[:, :2], rectangles[:, 2:]),
    )
    positions = spots.q_inv_angstrom if spots.pixels is None else spots.pixels
    unmasked = find_unmasked(positions, np.hstack([low, high]))
    return replace(
        spots.take(unmasked),
        masks_inv_angstrom=np.hstack([_to_reciprocal_space(corner, spots) for corner in (low, high)]),
    )


def find_unmasked(positions: FloatArray, rectangles: FloatArray) -> BoolArray:
    """Return which positions lie outside all masked rectangles.

    Args:
        positions: (..., 2).
        rectangles: (H, 4) x and y of the lower and of the upper corner, in the units of the positions.

    Returns:
        (...) booleans.
    """
    point = positions[..., None, :]
    inside = (point >= rectangles[:, :2]) & (point <= rectangles[:, 2:])
    return ~np.asarray(inside.all(axis=-1).any(axis=-1))


def _to_reciprocal_space(corners_px: FloatArray, spots: Spots) -> FloatArray:
    """Return corners (H, 2) in 1/angstrom; the camera's distortion of a rectangle is neglected."""
    if spots.pixels is None or spots.center_px is None or spots.pixel_size_inv_angstrom is None:
        return corners_px
    return np.asarray((corners_px - spots.center_px) * spots.pixel_size_inv_angstrom)
