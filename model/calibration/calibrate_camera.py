"""Calibrate a camera with a pattern of a known material: the spots of a layer, or the rings of a powder."""

from dataclasses import replace
from math import sqrt

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.indexing.pattern_lattice import index_pattern
from model.pattern.beam_center.symmetry_center import find_symmetry_center
from model.pattern.camera import MAX_ELLIPTICITY, CameraCalibration
from model.pattern.detection.spot_finding import DETECTION_SIDE, find_spots
from model.pattern.frame import Frame
from model.pattern.materials import MATERIALS, Material
from model.pattern.observation import Observation
from model.pattern.options import PatternOptions
from model.pattern.signal.preprocessing import BinnedImage

FloatArray = NDArray[np.float64]

SECTORS = 24
MIN_RINGS = 3
# Ratio of neighboring scales that are tried, and the significance that each ring needs.
_SCALE_STEP, _MIN_SIGMAS = 1.002, 6.0
# Neighboring rings of gold are 4 % apart, so that a larger ellipticity cannot be followed.
_MAX_RESIDUAL, _MAX_ELLIPTICITY_OF_RINGS = 0.005, 0.035
# Radius of the innermost ring, and the largest radius as a share of the frame's longer side.
_MIN_RADIUS_PX, _MAX_RADIUS_SHARE = 12.0, 0.72


def calibrate_camera(
    frame: Frame, material: str, center_px: tuple[float, float] | None = None
) -> CameraCalibration:
    """Measure a camera's pixel size and distortion with a reference pattern.

    Args:
        frame: of the reference.
        material: one of `MATERIALS`.
        center_px: x, y of the direct beam; found if absent.

    Raises:
        OptionError: an unknown material.
        NoSpotsError: the pattern is not that of the material.
    """
    reference = MATERIALS.get(material)
    if reference is None:
        raise OptionError(f"material: {material!r:.40} is unknown; use one of {', '.join(MATERIALS)}.")
    calibrate = _calibrate_with_spots if reference.is_layer else _calibrate_with_rings
    return replace(calibrate(frame, reference, center_px), shape=frame.shape)


def _calibrate_with_spots(
    frame: Frame, material: Material, center_px: tuple[float, float] | None
) -> CameraCalibration:
    # The scale stated by the file is disregarded, as it is what is measured.
    spots = find_spots(replace(frame, pixel_size_inv_angstrom=None), PatternOptions(center_px=center_px))
    lattice = index_pattern(Observation.from_spots(spots, 80.0))
    size = spots.pixel_size_inv_angstrom
    if lattice is None or size is None or not _is_nearly_hexagonal(*lattice.parameters):
        raise NoSpotsError(
            f"The spots lie on no hexagonal lattice, so this is not a single layer of {material.name}."
        )
    # Rows a*, b* in pixels, chosen 60 degrees apart; the length of the ideal ones is 2 / (sqrt(3) a).
    measured = lattice.basis / size
    if measured[0] @ measured[1] < 0:
        measured = np.array([measured[0], -measured[1]])
    length = 2 / (sqrt(3) * material.a_angstrom)
    handedness = np.sign(np.linalg.det(measured))
    ideal = length * np.array([[1.0, 0.0], [0.5, handedness * sqrt(3) / 2]])
    stretch: FloatArray = np.linalg.solve(ideal, measured).astype(np.float64)
    residual = float(lattice.sigma_inv_angstrom / np.linalg.norm(lattice.basis[0]))
    return _describe_stretch(stretch, material, residual)


def _is_nearly_hexagonal(a: float, b: float, gamma_deg: float) -> bool:
    """Whether a camera may have distorted a hexagonal lattice to this one."""
    return bool(b / a - 1 < MAX_ELLIPTICITY and abs(gamma_deg - 120) < np.degrees(MAX_ELLIPTICITY))


def _describe_stretch(stretch: FloatArray, material: Material, residual: float) -> CameraCalibration:
    """Return the calibration that maps 1/angstrom to pixels by (2, 2), rows to rows."""
    _, axes, directions = np.linalg.svd(stretch)
    major, minor = axes.tolist()
    x, y = directions[0].tolist()
    return CameraCalibration(
        1 / sqrt(major * minor),
        major / minor - 1,
        float(np.degrees(np.arctan2(y, x)) % 180),
        material.name,
        residual,
    )


def _calibrate_with_rings(
    frame: Frame, material: Material, center_px: tuple[float, float] | None
) -> CameraCalibration:
    counts = frame.counts.astype(np.float64)
    center = np.array(center_px or _find_ring_center(counts))
    rings, scale = material.compute_rings(), 0.0
    for _ in range(3):  # the rings give a better center, which gives better radii
        profile = _compute_profile(counts, center)
        scale, strength = _find_scale(profile, rings)
        if strength <= 0:
            raise NoSpotsError(
                f"There are no rings with the radii of {material.name}; check the material and the center."
            )
        radii, angles = _measure_radii(counts, center, rings / scale)
        fitted, model = _fit_ellipse(radii, angles, rings)
        center = center + fitted[3:5]
        if center_px is not None:
            center = np.array(center_px)
    used = np.isfinite(radii)
    residual = 1.4826 * float(np.median(np.abs(model - radii)[used]) / np.mean(radii[used]))
    return _describe_ellipse(fitted, material, residual)


def _describe_ellipse(fitted: FloatArray, material: Material, residual: float) -> CameraCalibration:
    """Return the calibration of rings that were fitted by `_fit_ellipse`.

    Raises:
        NoSpotsError: the rings are inconsistent, or the ellipticity is too large.
    """
    mean, cosine, sine = fitted[:3]
    ellipticity = 2 * float(np.hypot(cosine, sine)) / float(mean)
    if residual > _MAX_RESIDUAL or ellipticity > _MAX_ELLIPTICITY_OF_RINGS:
        raise NoSpotsError(
            f"The rings are inconsistent ({100 * residual:.1f} % residual, {100 * ellipticity:.1f} % ellipticity); "
            "calibrate with a single layer, or correct the astigmatism of the projector lens first."
        )
    axis = float(np.degrees(np.arctan2(sine, cosine)) / 2 % 180)
    return CameraCalibration(1 / float(mean), ellipticity, axis, material.name, residual)


def _find_ring_center(counts: FloatArray) -> tuple[float, float]:
    """Return the center of symmetry of a frame, x and y in pixels."""
    image = np.log1p(np.clip(counts - np.quantile(counts, 0.02), 0, None)).astype(np.float32)
    binned = BinnedImage.from_counts(image, DETECTION_SIDE)
    return binned.to_pixel(find_symmetry_center(binned.counts))


def _compute_profile(counts: FloatArray, center: FloatArray) -> FloatArray:
    """Return the mean counts at each whole radius above their smooth background, over the background's square root."""
    y, x = np.indices(counts.shape)
    radius = np.hypot(x - center[0], y - center[1])
    whole = np.rint(radius).astype(np.int64).ravel()
    total = np.bincount(whole, counts.ravel()) / np.maximum(np.bincount(whole), 1)
    usable = total[: int(_MAX_RADIUS_SHARE * max(counts.shape))]
    background = scipy.ndimage.minimum_filter1d(usable, max(len(usable) // 25, 9))
    background = scipy.ndimage.uniform_filter1d(background, max(len(usable) // 25, 9))
    return np.asarray((usable - background) / np.sqrt(np.maximum(background, 1.0)))


def _find_scale(profile: FloatArray, rings: FloatArray) -> tuple[float, float]:
    """Return the scale at which rings lie on maxima of the profile, 1/angstrom per pixel, and their strength."""
    outermost = len(profile) - 1
    lowest, highest = rings[0] / (0.8 * outermost), rings[0] / _MIN_RADIUS_PX
    best = (0.0, 0.0)
    for scale in lowest * _SCALE_STEP ** np.arange(int(np.log(highest / lowest) / np.log(_SCALE_STEP))):
        radii = rings / scale
        radii = radii[radii < outermost - 3]
        if len(radii) < MIN_RINGS:
            continue
        # rms error of the mean around a ring, by counting statistics alone.
        chance = 1 / np.sqrt(2 * np.pi * radii[:MIN_RINGS])
        places = np.arange(len(profile))
        on = np.interp(radii, places, profile)
        between = np.interp((radii[1:] + radii[:-1]) / 2, places, profile)
        # Every ring has to be there: the weakest weighs as much as the mean.
        strength = float(
            np.mean(np.sqrt(np.clip(on, 0, None)))
            + np.sqrt(max(on[:MIN_RINGS].min(), 0))
            - np.mean(np.sqrt(np.clip(between, 0, None)))
        )
        if strength > best[1] and (on[:MIN_RINGS] > _MIN_SIGMAS * chance).all():
            best = float(scale), strength
    return best


def _measure_radii(
    counts: FloatArray, center: FloatArray, expected: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Measure the radius (R, S) of each ring in each sector, NaN where it is not visible.

    Args:
        counts: of the frame.
        center: x, y of the rings.
        expected: (R,) approximate radii, pixels.

    Returns:
        the radii, and (S,) the directions of the sectors, radians.
    """
    angles = 2 * np.pi * (np.arange(SECTORS) + 0.5) / SECTORS
    radii = np.full((len(expected), SECTORS), np.nan)
    limit = 0.48 * min(counts.shape)
    for ring, radius in enumerate(expected):
        reach = max(0.05 * radius, 4.0)
        if radius + reach <= limit:
            steps = np.arange(radius - reach, radius + reach, 0.25)
            radii[ring] = [_measure_radius(counts, center, steps, angle) for angle in angles]
    return radii, angles


def _measure_radius(counts: FloatArray, center: FloatArray, steps: FloatArray, angle: float) -> float:
    """Return the radius of a ring in the sector about a direction, among radii in steps; NaN if it is not visible."""
    rays = angle + np.radians(np.linspace(-7.0, 7.0, 15))
    x = center[0] + np.outer(np.cos(rays), steps)
    y = center[1] + np.outer(np.sin(rays), steps)
    value = scipy.ndimage.map_coordinates(counts, [y, x], order=1, mode="nearest").mean(axis=0)
    background = np.interp(steps, [steps[0], steps[-1]], [value[:8].mean(), value[-8:].mean()])
    height = np.clip(value - background, 0, None)
    peak = int(height.argmax())
    if 4 < peak < len(steps) - 5 and height[peak] > 3 * np.sqrt(max(background[peak], 1.0) / 60):
        near = slice(max(peak - 8, 0), peak + 9)
        return float((steps[near] * height[near]).sum() / height[near].sum())
    return float("nan")


def _fit_ellipse(radii: FloatArray, angles: FloatArray, rings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit the distortion of the rings by robust least squares.

    Args:
        radii: (R, S) of each ring in each sector, pixels; NaN where it is not visible.
        angles: (S,) directions of the sectors, radians.
        rings: (R,) radii of the rings, 1/angstrom.

    Returns:
        (5,) pixels per 1/angstrom, the two components of the ellipticity, and the shift of the center; and (R, S) the
        fitted radii.
    """
    ring, sector = np.nonzero(np.isfinite(radii))
    if len(ring) < SECTORS:
        raise NoSpotsError("Too little of the rings is visible; expose longer, or use a thicker film.")
    direction, q = angles[sector], rings[ring]
    design = np.column_stack(
        [q, q * np.cos(2 * direction), q * np.sin(2 * direction), np.cos(direction), np.sin(direction)]
    )
    measured, weight = radii[ring, sector], np.ones(len(ring))
    for _ in range(4):
        solution = np.linalg.lstsq(design * weight[:, None], measured * weight, rcond=None)[0]
        off = measured - design @ solution
        weight = 1 / np.sqrt(1 + (off / max(1.4826 * float(np.median(np.abs(off))), 0.05)) ** 2)
    model = np.full(radii.shape, np.nan)
    model[ring, sector] = design @ solution
    return np.asarray(solution), model
