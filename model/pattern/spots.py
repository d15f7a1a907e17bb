"""What was measured: the spots of one diffraction pattern."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.pattern.camera import CameraCalibration

FloatArray = NDArray[np.float64]
Calibration = Literal["request", "file", "rings", "unknown"]
CenterMethod = Literal["symmetry", "request", "extrapolated"]

MIN_SPOTS = 3
DEFAULT_SCALE_SIGMA = 0.013
"""rms error of the logarithm of a camera's scale that nobody has checked: they are known to 1 to 3 %."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """What a camera frame tells of its spots beside where and how strong they are.

    Attributes:
        position_sigma_px: (N,) standard error of each coordinate of a spot.
        intensity_sigma: (N,) standard error, in the units of the intensities.
        saturated: (N,) spots with clipped pixels, whose intensities were told from the flanks.
        spot_sigma_px: the spots' common Gaussian deviation.
        center_method: by the inversion symmetry of the spots, given by the request, or by what falls off from it.
        pairs: spots with a Friedel mate at the centre, by two.
        paired_fraction: share of the spots that have one, of those whose mate would lie on the frame, the strong ones
            counting more.
        beam_stop: whether a shadow covers a part of the frame.
        shape: rows and columns of the frame.
        source_format: of the file.
        camera: whose distortion was taken out of the spots' positions.
        center_probability: probability that the centre is right, where it was extrapolated or something speaks against
            it.
    """

    position_sigma_px: FloatArray
    intensity_sigma: FloatArray
    saturated: NDArray[np.bool_]
    spot_sigma_px: float
    center_method: CenterMethod
    pairs: int
    paired_fraction: float
    beam_stop: bool
    shape: tuple[int, int]
    source_format: str
    camera: CameraCalibration | None = None
    center_probability: float | None = None

    def take(self, rows: NDArray[np.bool_]) -> "Exposure":
        """Of the spots at these rows."""
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
        intensity: (N,) integrated intensities, any scale, positive; None when only the geometry is known.
        pixels: (N, 2) x, y positions on the camera, or None for a pattern without one.
        center_px: x, y of the direct beam on the camera, or None.
        pixel_size_inv_angstrom: size of a pixel, or None for a pattern without a camera.
        calibration: where the scale came from.
        scale_is_known: False where the size of a pixel is only a unit to compute in, and nobody knows the true one.
        scale_sigma: rms error of the logarithm of a known scale.
        voltage_kv: accelerating voltage stated by the file, or None.
        warnings: sentences for the user, each saying what was assumed and what to do about it.
        exposure: what a camera frame tells of them, or None for points.
        masks_inv_angstrom: (H, 4) boxes where nothing is known: x and y of the lower corner, and of the upper one.

    Raises:
        NoSpotsError: fewer than three spots.
        OptionError: arrays that disagree, or values that are not finite.
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
            raise OptionError(f"spots need positions of shape (N, 2), not {q.shape}")
        if len(q) < MIN_SPOTS:
            raise NoSpotsError(f"{len(q)} spots besides the direct beam; at least {MIN_SPOTS} are needed")
        arrays = {"q_inv_angstrom": q}
        if self.intensity is not None:
            arrays["intensity"] = np.array(self.intensity, dtype=np.float64)
        if self.pixels is not None:
            arrays["pixels"] = np.array(self.pixels, dtype=np.float64)
        for name, array in arrays.items():
            if len(array) != len(q):
                raise OptionError(f"{name} has {len(array)} rows for {len(q)} spots")
            if not np.isfinite(array).all():
                raise OptionError(f"{name} holds a value that is not finite")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.intensity is not None and (self.intensity <= 0).any():
            raise OptionError("intensities must be positive; leave the intensity out where it is not known")

    def __len__(self) -> int:
        return len(self.q_inv_angstrom)

    def project_to_pixels(self, q_inv_angstrom: FloatArray) -> FloatArray:
        """(N, 2) x, y in pixels where the camera shows scattering vectors (N, 2).

        Raises:
            OptionError: a pattern without a camera.
        """
        if self.center_px is None or self.pixel_size_inv_angstrom is None:
            raise OptionError("the pattern has positions in q and no camera")
        offsets = q_inv_angstrom / self.pixel_size_inv_angstrom
        camera = None if self.exposure is None else self.exposure.camera
        return np.asarray(self.center_px + (offsets if camera is None else camera.apply_distortion(offsets)))

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """The spots at these rows.

        Raises:
            NoSpotsError: fewer than three.
        """
        return replace(
            self,
            q_inv_angstrom=self.q_inv_angstrom[rows],
            intensity=None if self.intensity is None else self.intensity[rows],
            pixels=None if self.pixels is None else self.pixels[rows],
            exposure=None if self.exposure is None else self.exposure.take(rows),
        )

    def rescale(self, factor: float) -> Self:
        """The same pattern with all lengths in reciprocal space times a factor."""
        size = self.pixel_size_inv_angstrom
        return replace(
            self,
            q_inv_angstrom=self.q_inv_angstrom * factor,
            pixel_size_inv_angstrom=None if size is None else size * factor,
            masks_inv_angstrom=self.masks_inv_angstrom * factor,
        )
