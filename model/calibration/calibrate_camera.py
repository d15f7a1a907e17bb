"""Calibration of a camera by a pattern of a known material: spots of a layer, or rings of a powder."""

from dataclasses import replace
from math import sqrt

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.indexing.pattern_lattice import index_pattern
from model.pattern.beam_center.rough_center import find_symmetry_center
from model.pattern.camera import MAX_ELLIPTICITY, CameraCalibration
from model.pattern.detection.spot_finding import DETECTION_SIDE, find_spots
from model.pattern.frame import Frame
from model.pattern.materials import MATERIALS, Material
from model.pattern.observation import Observation
from model.pattern.options import PatternOptions
from model.pattern.signal.preprocessing import BinnedImage

FloatArray = NDArray[np.float64]

SECTORS = 24
FEWEST_RINGS = 3
_STEP = 1.002
_SIGMAS = 6.0
# Neighbouring rings of gold lie 4 % apart, so an ellipse larger than this cannot be followed.
_LARGEST_RESIDUAL, _MOST_ELLIPTIC_RINGS = 0.005, 0.035
_RADII_PX = (12.0, 0.72)


def calibrate_camera(
    frame: Frame, material: str, center_px: tuple[float, float] | None = None
) -> CameraCalibration:
    """The calibration that a reference pattern tells.

    Args:
        frame: of the reference.
        material: one of MATERIALS.
        center_px: x, y of the direct beam; found if absent.

    Raises:
        OptionError: an unknown material.
        NoSpotsError: the pattern is not that of the material.
    """
    known = MATERIALS.get(material)
    if known is None:
        raise OptionError(f"material: {material!r:.40} is not known; known are {', '.join(MATERIALS)}")
    found = _by_spots(frame, known, center_px) if known.is_layer else _by_rings(frame, known, center_px)
    return replace(found, shape=frame.shape)


def _by_spots(frame: Frame, material: Material, center_px: tuple[float, float] | None) -> CameraCalibration:
    # The file's own scale is what is to be found out.
    spots = find_spots(replace(frame, pixel_size_inv_angstrom=None), PatternOptions(center_px=center_px))
    lattice = index_pattern(Observation.from_spots(spots, 80.0))
    size = spots.pixel_size_inv_angstrom
    if lattice is None or size is None or not _nearly_hexagonal(*lattice.parameters):
        raise NoSpotsError(
            f"the spots lie on no hexagonal lattice, so this is no single layer of {material.name}"
        )
    # Rows a*, b* in pixels, made to 60 degrees; the ideal ones are as long as 2 / (sqrt(3) a).
    seen = lattice.basis / size
    if seen[0] @ seen[1] < 0:
        seen = np.array([seen[0], -seen[1]])
    length = 2 / (sqrt(3) * material.a_angstrom)
    handed = np.sign(np.linalg.det(seen))
    ideal = length * np.array([[1.0, 0.0], [0.5, handed * sqrt(3) / 2]])
    stretched: FloatArray = np.linalg.solve(ideal, seen).astype(np.float64)
    return _from_map(
        stretched, material, float(lattice.sigma_inv_angstrom / np.linalg.norm(lattice.basis[0]))
    )


def _nearly_hexagonal(a: float, b: float, gamma_deg: float) -> bool:
    """Whether a camera may have made it of a hexagonal lattice."""
    return bool(b / a - 1 < MAX_ELLIPTICITY and abs(gamma_deg - 120) < np.degrees(MAX_ELLIPTICITY))


def _from_map(stretched: FloatArray, material: Material, residual: float) -> CameraCalibration:
    """Of the map (2, 2) from 1/angstrom to pixels, rows to rows."""
    _, axes, directions = np.linalg.svd(stretched)
    long, short = axes.tolist()
    x, y = directions[0].tolist()
    return CameraCalibration(
        1 / sqrt(long * short),
        long / short - 1,
        float(np.degrees(np.arctan2(y, x)) % 180),
        material.name,
        residual,
    )


def _by_rings(frame: Frame, material: Material, center_px: tuple[float, float] | None) -> CameraCalibration:
    counts = frame.counts.astype(np.float64)
    centre = np.array(center_px or _ring_centre(counts))
    rings, scale = material.compute_rings(), 0.0
    for _ in range(3):  # the centre of the rings is known as well as their radii
        profile = _profile(counts, centre)
        scale, strength = _scale(profile, rings)
        if strength <= 0:
            raise NoSpotsError(
                f"there are no rings whose radii are those of {material.name}; is the material right?"
            )
        radii, angles = _sector_radii(counts, centre, rings / scale)
        moved, design = _fitted(radii, angles, rings)
        centre = centre + moved[3:5]
        if center_px is not None:
            centre = np.array(center_px)
    mean, cosine, sine = moved[:3]
    ellipticity = 2 * float(np.hypot(cosine, sine)) / float(mean)
    used = np.isfinite(radii)
    residual = 1.4826 * float(np.median(np.abs(design - radii)[used]) / np.mean(radii[used]))
    if residual > _LARGEST_RESIDUAL or ellipticity > _MOST_ELLIPTIC_RINGS:
        raise NoSpotsError(
            f"the rings do not agree with each other ({100 * residual:.1f} % left, {100 * ellipticity:.1f} % "
            "elliptic); calibrate with a single layer, or correct the projector's astigmatism first"
        )
    axis = float(np.degrees(np.arctan2(sine, cosine)) / 2 % 180)
    return CameraCalibration(1 / float(mean), ellipticity, axis, material.name, residual)


def _ring_centre(counts: FloatArray) -> tuple[float, float]:
    """By the frame's symmetry, whether rings or spots."""
    image = np.log1p(np.clip(counts - np.quantile(counts, 0.02), 0, None)).astype(np.float32)
    binned = BinnedImage.from_counts(image, DETECTION_SIDE)
    return binned.to_pixel(find_symmetry_center(binned.counts))


def _profile(counts: FloatArray, centre: FloatArray) -> FloatArray:
    """Mean of the counts at each whole radius, above its smooth ground, over that ground's root."""
    y, x = np.indices(counts.shape)
    radius = np.hypot(x - centre[0], y - centre[1])
    whole = np.rint(radius).astype(np.int64).ravel()
    total = np.bincount(whole, counts.ravel()) / np.maximum(np.bincount(whole), 1)
    usable = total[: int(_RADII_PX[1] * max(counts.shape))]
    ground = scipy.ndimage.minimum_filter1d(usable, max(len(usable) // 25, 9))
    ground = scipy.ndimage.uniform_filter1d(ground, max(len(usable) // 25, 9))
    return np.asarray((usable - ground) / np.sqrt(np.maximum(ground, 1.0)))


def _scale(profile: FloatArray, rings: FloatArray) -> tuple[float, float]:
    """1/angstrom per pixel at which the rings lie on maxima of the profile, and how much higher than beside them."""
    largest = len(profile) - 1
    lowest, highest = rings[0] / (0.8 * largest), rings[0] / _RADII_PX[0]
    best = (0.0, 0.0)
    for scale in lowest * _STEP ** np.arange(int(np.log(highest / lowest) / np.log(_STEP))):
        radii = rings / scale
        radii = radii[radii < largest - 3]
        if len(radii) < FEWEST_RINGS:
            continue
        # Of counts alone, the mean around a ring is off by so much.
        chance = 1 / np.sqrt(2 * np.pi * radii[:FEWEST_RINGS])
        places = np.arange(len(profile))
        on = np.interp(radii, places, profile)
        between = np.interp((radii[1:] + radii[:-1]) / 2, places, profile)
        # Every ring has to be there: the least one counts as much as the mean.
        strength = float(
            np.mean(np.sqrt(np.clip(on, 0, None)))
            + np.sqrt(max(on[:FEWEST_RINGS].min(), 0))
            - np.mean(np.sqrt(np.clip(between, 0, None)))
        )
        if strength > best[1] and (on[:FEWEST_RINGS] > _SIGMAS * chance).all():
            best = float(scale), strength
    return best


def _sector_radii(
    counts: FloatArray, centre: FloatArray, expected: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(R, S) radius of each ring in each sector, NaN where it is not seen; (S,) the sectors' directions."""
    angles = 2 * np.pi * (np.arange(SECTORS) + 0.5) / SECTORS
    found = np.full((len(expected), SECTORS), np.nan)
    limit = 0.48 * min(counts.shape)
    for ring, radius in enumerate(expected):
        reach = max(0.05 * radius, 4.0)
        if radius + reach > limit:
            continue
        steps = np.arange(radius - reach, radius + reach, 0.25)
        for sector, angle in enumerate(angles):
            rays = angle + np.radians(np.linspace(-7.0, 7.0, 15))
            x = centre[0] + np.outer(np.cos(rays), steps)
            y = centre[1] + np.outer(np.sin(rays), steps)
            value = scipy.ndimage.map_coordinates(counts, [y, x], order=1, mode="nearest").mean(axis=0)
            ends = np.interp(steps, [steps[0], steps[-1]], [value[:8].mean(), value[-8:].mean()])
            height = np.clip(value - ends, 0, None)
            peak = int(height.argmax())
            if 4 < peak < len(steps) - 5 and height[peak] > 3 * np.sqrt(max(ends[peak], 1.0) / 60):
                near = slice(max(peak - 8, 0), peak + 9)
                found[ring, sector] = float((steps[near] * height[near]).sum() / height[near].sum())
    return found, angles


def _fitted(radii: FloatArray, angles: FloatArray, rings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pixels per 1/angstrom, its ellipse's two components and the shift of the centre; the radii that they make."""
    ring, sector = np.nonzero(np.isfinite(radii))
    if len(ring) < SECTORS:
        raise NoSpotsError("too little of the rings is seen; expose longer, or use a thicker film")
    direction, q = angles[sector], rings[ring]
    design = np.column_stack(
        [q, q * np.cos(2 * direction), q * np.sin(2 * direction), np.cos(direction), np.sin(direction)]
    )
    measured, weight = radii[ring, sector], np.ones(len(ring))
    for _ in range(4):
        solution = np.linalg.lstsq(design * weight[:, None], measured * weight, rcond=None)[0]
        off = measured - design @ solution
        weight = 1 / np.sqrt(1 + (off / max(1.4826 * float(np.median(np.abs(off))), 0.05)) ** 2)
    whole = np.full(radii.shape, np.nan)
    whole[ring, sector] = design @ solution
    return np.asarray(solution), whole
