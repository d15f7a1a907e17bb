"""From a camera frame to spots: centre, background, peaks, and what is no diffraction pattern."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.pattern.beam_center.extrapolated_center import Beam, Detected
from model.pattern.beam_center.friedel_center import Center, find_friedel_center, measure_friedel_support
from model.pattern.beam_center.lattice_node import move_to_lattice_node
from model.pattern.beam_center.rough_center import estimate_center
from model.pattern.detection.detect_peaks import detect_peaks
from model.pattern.detection.false_peaks import without_noise, without_ripples
from model.pattern.detection.film_ring_scale import size_by_rings, told_by_rings
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.rejection.not_diffraction import (
    has_symmetry,
    require_diffraction,
    require_symmetry,
)
from model.pattern.rejection.overlapping_discs import require_no_overlapping_discs
from model.pattern.rejection.powder import require_no_bare_rings, require_no_powder, require_no_rings
from model.pattern.scale import nominal_pixel_size, require_plausible_scale
from model.pattern.signal.binning import Binned
from model.pattern.signal.film_rings import FilmRings
from model.pattern.signal.hot_pixels import without_hot_pixels
from model.pattern.signal.peaks import Peaks
from model.pattern.spots import MIN_SPOTS, Calibration, CenterMethod, Exposure, Spots

DETECTION_SIDE = 512
_WELL_PAIRED, _POORLY_PAIRED = 0.8, 0.5
_DIRECT_BEAM_SIGMAS = 4
_COUNTS = (1.0, 1e9)
_SURE = 0.5


@dataclass(frozen=True, eq=False)
class FoundSpots:
    """What a frame shows, in pixels.

    Attributes:
        peaks: the spots, the direct beam not among them.
        sigma: their common Gaussian deviation.
        center: of inversion symmetry, with its support, or the one given, or extrapolated.
        beam_stop: whether a shadow covers a part of the frame.
        fcc_unit: pixels of 1 / a of a face-centred cubic metal whose rings are seen too, or None.
        center_method: how.
        certainty: probability that the centre is right, where something speaks against it or it was extrapolated.
    """

    peaks: Peaks
    sigma: float
    center: Center
    beam_stop: bool
    fcc_unit: float | None = None
    center_method: CenterMethod = "symmetry"
    certainty: float | None = None

    @property
    def volume(self) -> float:
        """Of a spot of height 1."""
        return 2 * np.pi * self.sigma**2

    @property
    def intensity(self) -> NDArray[np.float64]:
        """(N,) integrated counts over the background."""
        intensity: NDArray[np.float64] = self.peaks.amplitude * self.volume
        return intensity


def find_spots(frame: Frame, options: PatternOptions) -> Spots:
    """The spots of a frame with background-free integrated intensities, in 1/angstrom if the scale is known.

    Raises:
        NoSpotsError: a blank frame, an image of real space, fewer than three spots.
        OptionError: the scale cannot be right, units of points, or the centre given lies outside the
            frame.
    """
    if options.units not in {None, "pixel"}:
        raise OptionError(
            f"units={options.units} is for points; the positions in a camera frame are pixels, so leave units out and "
            "give pixel_size in 1/angstrom per pixel"
        )
    camera = options.camera
    if camera is not None:
        camera.check_frame(frame.shape)
    found = locate_spots(frame, options.center_px)
    calibrated = None if camera is None else camera.pixel_size_inv_angstrom
    stated = options.pixel_size_inv_angstrom or calibrated or frame.pixel_size_inv_angstrom
    center = (found.center.x, found.center.y)
    offsets = found.peaks.pixels - center
    if camera is not None:
        offsets = camera.correct_distortion(offsets)
    rings = () if found.fcc_unit is None else told_by_rings(found.fcc_unit, stated)
    calibration = _calibration(options, frame)
    if stated is None and found.fcc_unit is not None:
        stated, calibration = size_by_rings(found.fcc_unit), "rings"
    size = stated or nominal_pixel_size(offsets)
    if stated is not None:
        require_plausible_scale(offsets * size, "pixel", size)
    clipped = int(found.peaks.clipped.sum())
    saturated = f"{clipped} spots are saturated; their intensities were told from their flanks."
    return Spots(
        q_inv_angstrom=offsets * size,
        intensity=found.intensity,
        pixels=found.peaks.pixels,
        center_px=center,
        pixel_size_inv_angstrom=size,
        calibration=calibration,
        scale_is_known=stated is not None,
        scale_sigma=options.scale_sigma_for(calibration),
        voltage_kv=frame.voltage_kv,
        warnings=(*frame.warnings, *rings, *((saturated,) if clipped else ()), *_told_of_centre(found)),
        exposure=Exposure(
            position_sigma_px=found.peaks.position_error(found.sigma),
            intensity_sigma=found.peaks.amplitude_error * found.volume,
            saturated=found.peaks.clipped,
            spot_sigma_px=found.sigma,
            center_method=found.center_method,
            center_probability=found.certainty,
            pairs=found.center.pairs,
            paired_fraction=found.center.paired_fraction,
            beam_stop=found.beam_stop,
            shape=frame.shape,
            source_format=frame.source_format,
            camera=camera,
        ),
    )


def _told_of_centre(found: FoundSpots) -> tuple[str, ...]:
    if found.certainty is None or (found.center_method == "symmetry" and found.certainty > _SURE):
        return ()
    at, percent = f"{found.center.x:.0f}, {found.center.y:.0f}", f"{100 * found.certainty:.0f} %"
    if found.center_method == "symmetry":
        return (
            f"The spots do not fall off from {at}, about which they are symmetric: the direct beam is there with a "
            f"probability of only {percent}; give center if it is not.",
        )
    return (
        f"The direct beam was told to lie at {at} by what falls off from there, with a probability of {percent}; "
        "give center if you know it.",
    )


def _calibration(options: PatternOptions, frame: Frame) -> Calibration:
    if options.pixel_size_inv_angstrom is not None or options.camera is not None:
        return "request"
    return "unknown" if frame.pixel_size_inv_angstrom is None else "file"


def locate_spots(frame: Frame, center_px: tuple[float, float] | None = None) -> FoundSpots:
    """Find centre and spots of a frame, in pixels.

    Raises:
        NoSpotsError: nothing that could be a diffraction pattern.
        OptionError: the centre given lies farther outside the frame than it is wide.
    """
    height, width = frame.shape
    # A camera may be put where the direct beam misses it; farther off than a frame's width it sees no spots.
    if center_px is not None and not (
        -width <= center_px[0] < 2 * width and -height <= center_px[1] < 2 * height
    ):
        raise OptionError(f"center {center_px} lies far outside the frame of {width} x {height} pixels")
    if np.ptp(frame.counts) == 0:
        raise NoSpotsError("the frame is blank: all its pixels are alike; send the one that shows spots")
    cleaned = without_hot_pixels(frame.counts)
    frame = _in_range(frame if cleaned is frame.counts else replace(frame, counts=cleaned))
    binned = Binned.to_side(frame.counts, DETECTION_SIDE)
    rough = binned.binned_point(center_px) if center_px else estimate_center(binned.counts)
    detected = Detected(*detect_peaks(frame, binned, rough), binned)
    sigma = detected.sigma
    center = _refined_centre(frame, detected.peaks, binned.full_point(rough), given=center_px is not None)
    peaks = _without_direct_beam(detected.peaks, center, sigma)
    if frame.ripple:
        peaks = without_ripples(peaks, center, sigma, frame.ripple)
        center = measure_friedel_support(peaks.pixels, peaks.amplitude, (center.x, center.y), _view(frame))
    if center.pairs >= MIN_SPOTS and center.paired_fraction < _WELL_PAIRED:
        peaks = without_noise(peaks, center, sigma, detected.usable)
    # What was taken for noise has no say in how well the spots are paired.
    support = measure_friedel_support(peaks.pixels, peaks.amplitude, (center.x, center.y), _view(frame))
    beam = _direct_beam(detected, peaks, center, support, rough) if center_px is None else None
    if beam is not None and beam.elsewhere:
        found = locate_spots(frame, beam.at)
        return replace(found, center_method="extrapolated", certainty=beam.probability)
    unit = FilmRings.about(binned.counts, binned.binned_point((center.x, center.y))).fcc_unit()
    return FoundSpots(
        peaks,
        sigma,
        support,
        bool((~detected.usable).any()),
        None if unit is None else unit * binned.factor,
        center_method="symmetry" if center_px is None else "request",
        certainty=None if beam is None else beam.probability,
    )


def _direct_beam(
    detected: Detected, peaks: Peaks, center: Center, support: Center, rough: tuple[float, float]
) -> Beam | None:
    """Where the direct beam is, if not surely at the centre of symmetry; refuses what is no pattern of spots.

    Args:
        detected: in the frame.
        peaks: those of them that are taken for spots.
        center: of symmetry, with its support before noise was taken out of the peaks.
        support: of the same centre by these peaks.
        rough: x, y of the first guess, in blocks.
    """
    binned, sigma = detected.binned, detected.sigma
    if not has_symmetry(center):  # maxima of the noise on rings have none, but the rings themselves do
        require_no_bare_rings(FilmRings.about(binned.counts, rough))
    if center.paired_fraction < _POORLY_PAIRED:
        require_no_overlapping_discs(binned, rough)
    beam = None if has_symmetry(center) else detected.beam_without_symmetry()
    if beam is not None:
        return beam
    require_diffraction(peaks, center)
    require_no_powder(peaks, center, sigma)
    require_no_rings(peaks, center, sigma, binned)
    beam = detected.direct_beam(support, _without_direct_beam(detected.peaks, support, sigma))
    if beam is None or not beam.elsewhere:
        require_symmetry(support, len(peaks))
    return beam


def _in_range(frame: Frame) -> Frame:
    """The frame with counts that single precision can square; intensities have no scale anyway."""
    span = float(frame.counts.max()) - float(frame.counts.min())
    if _COUNTS[0] <= span <= _COUNTS[1]:
        return frame
    factor = 1e4 / span
    level = frame.saturation_level
    counts = (frame.counts.astype(np.float64) * factor).astype(np.float32)
    # The clipped level is taken from the scaled counts: rounding must not lift it above them.
    clipped = None if level is None else float(counts.max())
    faintest, ripple = frame.faintest * factor, frame.ripple * factor
    return replace(frame, counts=counts, saturation_level=clipped, faintest=faintest, ripple=ripple)


def _refined_centre(frame: Frame, peaks: Peaks, rough: tuple[float, float], *, given: bool) -> Center:
    found = None
    if not given and len(peaks) >= MIN_SPOTS:
        reach = 0.02 * max(frame.shape)
        found = find_friedel_center(
            peaks.pixels, peaks.amplitude, guess=rough, search_radius=reach, view=_view(frame)
        )
    if found is None:
        return measure_friedel_support(peaks.pixels, peaks.amplitude, rough, _view(frame))
    return move_to_lattice_node(peaks.pixels, peaks.amplitude, found, _view(frame))


def _view(frame: Frame) -> tuple[float, float, float, float]:
    """The field recorded: x0, y0, x1, y1."""
    height, width = frame.shape
    return 0.0, 0.0, width - 1.0, height - 1.0


def _without_direct_beam(peaks: Peaks, center: Center, sigma: float) -> Peaks:
    radius = np.linalg.norm(peaks.pixels - [center.x, center.y], axis=1)
    return peaks.take(radius > _DIRECT_BEAM_SIGMAS * sigma)
