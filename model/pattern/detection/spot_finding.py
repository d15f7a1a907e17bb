"""From a camera frame to spots.

`find_spots` locates the spots in pixels and converts them to scattering vectors. `locate_spots` shows the steps:
preparation, peaks, center, removal of false peaks, and refusal of frames that are not patterns of spots.
"""

from dataclasses import replace

import numpy as np

from model.errors import NoSpotsError, OptionError
from model.pattern.beam_center.extrapolated_center import (
    MIN_PEAKS,
    DirectBeam,
    find_direct_beam,
    find_direct_beam_without_symmetry,
)
from model.pattern.beam_center.spot_lattice import move_to_lattice_node
from model.pattern.beam_center.symmetry_center import (
    Center,
    FieldOfView,
    estimate_center,
    find_friedel_center,
    measure_friedel_support,
)
from model.pattern.detection.peak_detection import detect_peaks, remove_noise, remove_ripples
from model.pattern.detection.spot_calibration import LocatedSpots, calibrate_spots
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.rejection.overlapping_discs import require_no_overlapping_discs
from model.pattern.rejection.spot_pattern import (
    are_equal_or_repeated,
    has_symmetry,
    require_no_bare_rings,
    require_spot_pattern,
    require_symmetry,
)
from model.pattern.signal.film_rings import find_fcc_unit
from model.pattern.signal.peaks import DetectedPeaks, Peaks
from model.pattern.signal.preprocessing import BinnedImage, prepare_frame
from model.pattern.spots import MIN_SPOTS, Spots

DETECTION_SIDE = 512
_NOISY_PAIRED_FRACTION, _POOR_PAIRED_FRACTION = 0.8, 0.5
_DIRECT_BEAM_SIGMAS = 4


def find_spots(frame: Frame, options: PatternOptions) -> Spots:
    """Find the spots of a frame, with integrated intensities, and calibrate them.

    Raises:
        NoSpotsError: The frame is blank, is not a diffraction pattern, or has fewer than three spots.
        OptionError: The scale is implausible, units are those of points, or the given center lies far outside the
            frame.
    """
    if options.units not in {None, "pixel"}:
        raise OptionError(
            f"units={options.units} applies only to points. Positions in a camera frame are in "
            "pixels; omit units and give "
            "pixel_size in 1/angstrom per pixel."
        )
    if options.camera is not None:
        options.camera.check_frame(frame.shape)
    located = locate_spots(frame, options.center_px)
    return calibrate_spots(located, frame, options)


def locate_spots(frame: Frame, center_px: tuple[float, float] | None = None) -> LocatedSpots:
    """Find center and spots of a frame, in pixels.

    Args:
        frame: as read from its file.
        center_px: x, y of the direct beam where it is given.

    Raises:
        NoSpotsError: The frame is not a diffraction pattern of a crystal.
        OptionError: The given center is farther outside the frame than its width.
    """
    _require_center_nearby(frame, center_px)
    if np.ptp(frame.counts) == 0:
        raise NoSpotsError("The frame is blank: all its pixels are equal. Upload one that shows spots.")
    frame = prepare_frame(frame)
    binned = BinnedImage.from_counts(frame.counts, DETECTION_SIDE)
    rough = binned.to_block(center_px) if center_px else estimate_center(binned.counts)
    detected = detect_peaks(frame, binned, rough)
    sigma = detected.sigma

    center = _refine_center(frame, detected.peaks, binned.to_pixel(rough), is_given=center_px is not None)
    peaks = _remove_direct_beam(detected.peaks, center, sigma)
    if frame.ripple_height:
        peaks = remove_ripples(peaks, center, sigma, frame.ripple_height)
        center = _measure_support(frame, peaks, center)
    if center.pairs >= MIN_SPOTS and center.paired_fraction < _NOISY_PAIRED_FRACTION:
        peaks = remove_noise(peaks, center, sigma, detected.usable)
    support = _measure_support(frame, peaks, center)  # without the peaks that were removed as noise

    direct_beam = None
    if center_px is None:
        direct_beam = _check_center(detected, peaks, center, support, rough)
    if direct_beam is not None and direct_beam.is_elsewhere:
        located = locate_spots(frame, direct_beam.position)
        return replace(located, center_method="extrapolated", center_probability=direct_beam.probability)
    return LocatedSpots(
        peaks,
        sigma,
        support,
        bool((~detected.usable).any()),
        find_fcc_unit(binned, (center.x, center.y)),
        center_method="symmetry" if center_px is None else "request",
        center_probability=None if direct_beam is None else direct_beam.probability,
    )


def _require_center_nearby(frame: Frame, center_px: tuple[float, float] | None) -> None:
    """Reject a given center farther outside than the width of the frame; a camera there records no spots."""
    height, width = frame.counts.shape
    if center_px is not None and not (
        -width <= center_px[0] < 2 * width and -height <= center_px[1] < 2 * height
    ):
        raise OptionError(
            f"center {center_px} lies far outside the frame of {width} x {height} pixels; give it in pixels."
        )


def _refine_center(frame: Frame, peaks: Peaks, rough: tuple[float, float], *, is_given: bool) -> Center:
    """Return the center of symmetry near a rough one, at a node of the spots' lattice; a given center stays."""
    center, view = None, _get_field_of_view(frame)
    if not is_given and len(peaks.pixels) >= MIN_SPOTS:
        reach = 0.02 * max(frame.counts.shape)
        center = find_friedel_center(
            peaks.pixels, peaks.amplitude, guess=rough, search_radius=reach, view=view
        )
    if center is None:
        return measure_friedel_support(peaks.pixels, peaks.amplitude, rough, view)
    return move_to_lattice_node(peaks.pixels, peaks.amplitude, center, view)


def _measure_support(frame: Frame, peaks: Peaks, center: Center) -> Center:
    view = _get_field_of_view(frame)
    return measure_friedel_support(peaks.pixels, peaks.amplitude, (center.x, center.y), view)


def _get_field_of_view(frame: Frame) -> FieldOfView:
    height, width = frame.counts.shape
    return 0.0, 0.0, width - 1.0, height - 1.0


def _remove_direct_beam(peaks: Peaks, center: Center, sigma: float) -> Peaks:
    radius = np.linalg.norm(peaks.pixels - [center.x, center.y], axis=1)
    return peaks.take(radius > _DIRECT_BEAM_SIGMAS * sigma)


def _check_center(
    detected: DetectedPeaks, peaks: Peaks, center: Center, support: Center, rough: tuple[float, float]
) -> DirectBeam | None:
    """Reject frames that are not spot patterns, and find the direct beam if it may not be at the center of symmetry.

    Args:
        detected: all peaks of the frame.
        peaks: those that are spots.
        center: center of symmetry, with its support before noise was removed.
        support: the same center with its support by these spots.
        rough: x, y of the first estimate, in blocks.

    Returns:
        The direct beam; None if nothing contradicts the center of symmetry.
    """
    binned, sigma = detected.binned, detected.sigma
    is_symmetric = has_symmetry(center)
    if not is_symmetric:  # maxima of the noise on rings are not symmetric, but the rings themselves are
        require_no_bare_rings(binned, rough)
    if center.paired_fraction < _POOR_PAIRED_FRACTION:
        require_no_overlapping_discs(binned, rough)
    if (
        not is_symmetric
        and len(detected.peaks.pixels) >= MIN_PEAKS
        and not are_equal_or_repeated(detected.peaks)
    ):
        direct_beam = find_direct_beam_without_symmetry(detected)
        if direct_beam is not None:
            return direct_beam
    require_spot_pattern(peaks, center, sigma, binned)
    direct_beam = find_direct_beam(detected, support, _remove_direct_beam(detected.peaks, support, sigma))
    if direct_beam is None or not direct_beam.is_elsewhere:
        require_symmetry(support, len(peaks.pixels))
    return direct_beam
