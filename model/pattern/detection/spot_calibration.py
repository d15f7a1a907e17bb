"""From spots in pixels to scattering vectors: scale, uncertainties and warnings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.pattern.beam_center.symmetry_center import Center
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.scale import choose_nominal_pixel_size, require_plausible_scale
from model.pattern.signal.film_rings import derive_pixel_size, warn_of_ring_scale
from model.pattern.signal.peaks import Peaks
from model.pattern.spots import Calibration, CenterMethod, Exposure, Spots

FloatArray = NDArray[np.float64]

_SURE_PROBABILITY = 0.5


@dataclass(frozen=True, eq=False)
class LocatedSpots:
    """The spots of a frame, in pixels.

    Attributes:
        peaks: the spots without the direct beam.
        sigma: their common Gaussian standard deviation.
        center: center with its support.
        beam_stop: whether a beam stop shadows part of the frame.
        fcc_unit: 1 / a, in pixels, of a face-centered cubic metal whose rings are visible too, or None.
        center_method: how the center was found.
        center_probability: probability that the center is right, where it was extrapolated or is in doubt.
    """

    peaks: Peaks
    sigma: float
    center: Center
    beam_stop: bool
    fcc_unit: float | None = None
    center_method: CenterMethod = "symmetry"
    center_probability: float | None = None

    @property
    def intensity(self) -> FloatArray:
        """(N,) integrated counts above the background."""
        intensity: FloatArray = self.peaks.amplitude * (2 * np.pi * self.sigma**2)
        return intensity


def calibrate_spots(located: LocatedSpots, frame: Frame, options: PatternOptions) -> Spots:
    """Convert located spots to scattering vectors, in nominal units if the scale is unknown."""
    peaks, camera, center = located.peaks, options.camera, (located.center.x, located.center.y)
    offsets = peaks.pixels - center
    if camera is not None:
        offsets = camera.correct_distortion(offsets)
    size, calibration, ring_warnings = _choose_pixel_size(located.fcc_unit, frame, options)
    scale_is_known = size is not None
    size = size or choose_nominal_pixel_size(offsets)
    if scale_is_known:
        require_plausible_scale(offsets * size, "pixel", size)
    return Spots(
        q_inv_angstrom=offsets * size,
        intensity=located.intensity,
        pixels=peaks.pixels,
        center_px=center,
        pixel_size_inv_angstrom=size,
        calibration=calibration,
        scale_is_known=scale_is_known,
        scale_sigma=options.choose_scale_sigma(calibration),
        voltage_kv=frame.voltage_kv,
        warnings=(
            *frame.warnings,
            *ring_warnings,
            *_warn_of_saturation(peaks),
            *_warn_of_center(located),
        ),
        exposure=Exposure(
            position_sigma_px=peaks.estimate_position_sigma(located.sigma),
            intensity_sigma=peaks.amplitude_error * (2 * np.pi * located.sigma**2),
            saturated=peaks.saturated,
            spot_sigma_px=located.sigma,
            center_method=located.center_method,
            center_probability=located.center_probability,
            pairs=located.center.pairs,
            paired_fraction=located.center.paired_fraction,
            beam_stop=located.beam_stop,
            shape=frame.shape,
            source_format=frame.source_format,
            camera=camera,
        ),
    )


def _choose_pixel_size(
    fcc_unit: float | None, frame: Frame, options: PatternOptions
) -> tuple[float | None, Calibration, tuple[str, ...]]:
    """Return the pixel size of request, camera calibration, file or film rings, its source, and warnings."""
    size, camera = options.pixel_size_inv_angstrom, options.camera
    calibration: Calibration = "request"
    if size is None and camera is not None:
        size = camera.pixel_size_inv_angstrom
    elif size is None:
        size = frame.pixel_size_inv_angstrom
        calibration = "unknown" if size is None else "file"
    if fcc_unit is None:
        return size, calibration, ()
    warnings = warn_of_ring_scale(fcc_unit, size)
    if size is None:
        return derive_pixel_size(fcc_unit), "rings", warnings
    return size, calibration, warnings


def _warn_of_saturation(peaks: Peaks) -> tuple[str, ...]:
    count = int(peaks.saturated.sum())
    if not count:
        return ()
    spots, intensities = (
        ("spot is", "its intensity was") if count == 1 else ("spots are", "their intensities were")
    )
    return (f"{count} {spots} saturated; {intensities} estimated from unsaturated pixels.",)


def _warn_of_center(located: LocatedSpots) -> tuple[str, ...]:
    probability, is_symmetric = located.center_probability, located.center_method == "symmetry"
    if probability is None or (is_symmetric and probability > _SURE_PROBABILITY):
        return ()
    place, percent = f"{located.center.x:.0f}, {located.center.y:.0f}", f"{100 * probability:.0f} %"
    if is_symmetric:
        return (
            f"The spots are symmetric about {place} but do not fall off from there: the direct beam is there with a "
            f"probability of only {percent}. Give center if it is elsewhere.",
        )
    return (
        f"The direct beam was extrapolated to {place}, from where spots and background fall off, with a probability of "
        f"{percent}. Give center if you know it.",
    )
