"""From a camera frame to spots: centre, background, peaks, and what is no diffraction pattern."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from model.errors import NoSpotsError, OptionError
from model.pattern.background import Rings, local_level, shadow
from model.pattern.centre import Centre, friedel_centre
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.peaks import Peaks, draw_peaks, fit_peaks, local_maxima, spot_sigma
from model.pattern.rough_centre import symmetry_centre
from model.pattern.spots import Spots

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

MAXIMUM_SPOTS = 600
DETECTION = 4.5
SIGNIFICANCE = 5.0
_DETECTION_SIDE = 512
_FIRST_SIGMA = 1.3
_WELL_PAIRED = 0.6
_POORLY_PAIRED = 0.25


@dataclass(frozen=True, eq=False)
class FoundSpots:
    """What a frame shows, in pixels.

    Attributes:
        peaks: the spots, the direct beam not among them.
        sigma: their common Gaussian deviation.
        center: of inversion symmetry, with its support, or the one given.
        beam_stop: whether a shadow covers a part of the frame.
    """

    peaks: Peaks
    sigma: float
    center: Centre
    beam_stop: bool

    @property
    def intensity(self) -> NDArray[np.float64]:
        """(N,) integrated counts over the background."""
        intensity: NDArray[np.float64] = self.peaks.amplitude * 2 * np.pi * self.sigma**2
        return intensity


def find_spots(frame: Frame, options: PatternOptions) -> Spots:
    """The spots of a frame in 1/angstrom, with background-free integrated intensities.

    Raises:
        NoSpotsError: a blank frame, an image of real space, fewer than three spots.
        OptionError: the scale is unknown, or the centre given lies outside the frame.
    """
    found = locate_spots(frame, options.center_px)
    size = options.pixel_size_inv_angstrom or frame.pixel_size_inv_angstrom
    if size is None:
        raise OptionError(
            "the scale is unknown: the file does not state it; give pixel_size (1/angstrom per pixel)"
        )
    center = (found.center.x, found.center.y)
    return Spots(
        q_inv_angstrom=(found.peaks.pixels - center) * size,
        intensity=found.intensity,
        pixels=found.peaks.pixels,
        center_px=center,
        pixel_size_inv_angstrom=size,
        calibration="file" if options.pixel_size_inv_angstrom is None else "request",
        voltage_kv=frame.voltage_kv,
        warnings=frame.warnings,
    )


def locate_spots(frame: Frame, center_px: tuple[float, float] | None = None) -> FoundSpots:
    """Find centre and spots of a frame, in pixels.

    Raises:
        NoSpotsError: nothing that could be a diffraction pattern.
        OptionError: the centre given lies outside the frame.
    """
    height, width = frame.shape
    if center_px is not None and not (0 <= center_px[0] < width and 0 <= center_px[1] < height):
        raise OptionError(f"center {center_px} lies outside the frame of {width} x {height} pixels")
    if np.ptp(frame.counts) == 0:
        raise NoSpotsError("the frame is blank: all its pixels are alike")
    factor = max(1, max(frame.shape) // _DETECTION_SIDE)
    small = _binned(frame.counts, factor)
    rough = _to_small(center_px, factor) if center_px else _first_centre(small)
    usable, peaks, sigma = _detect(frame, small, factor, rough)
    center = _refined_centre(frame, peaks, _to_full(rough, factor))
    peaks = _without_direct_beam(peaks, center, sigma)
    return FoundSpots(peaks, sigma, center, bool((~usable).any()))


def _binned(counts: FloatImage, factor: int) -> FloatImage:
    if factor == 1:
        return counts.copy()
    height, width = (side // factor for side in counts.shape)
    small = np.zeros((height, width), dtype=np.float32)
    for dy in range(factor):
        for dx in range(factor):
            small += counts[dy : height * factor : factor, dx : width * factor : factor]
    small /= factor**2
    return small


def _to_full(at: tuple[float, float], factor: int) -> tuple[float, float]:
    return (at[0] + 0.5) * factor - 0.5, (at[1] + 0.5) * factor - 0.5


def _to_small(at: tuple[float, float], factor: int) -> tuple[float, float]:
    return (at[0] + 0.5) / factor - 0.5, (at[1] + 0.5) / factor - 0.5


def _first_centre(small: FloatImage) -> tuple[float, float]:
    """The centre from the frame's own symmetry, sharpened by its strong spots' Friedel pairs."""
    floor = np.partition(small.ravel()[::7], small.size // 7 // 50)[small.size // 7 // 50]
    root = np.sqrt(np.maximum(small - floor, 0))
    guess = symmetry_centre(np.log1p(root))
    contrast = ndi.gaussian_filter(root, _FIRST_SIGMA, truncate=3) - ndi.uniform_filter(root, 11)
    spread = np.median(np.abs(contrast.ravel()[::7])) * 1.4826
    rows, columns = local_maxima(contrast, 6 * spread)
    strongest = np.argsort(-contrast[rows, columns])[:160]
    rows, columns = rows[strongest], columns[strongest]
    positions = np.column_stack([columns, rows]).astype(float)
    strength = contrast[rows, columns].astype(float) ** 2
    view = (0.0, 0.0, small.shape[1] - 1.0, small.shape[0] - 1.0)

    def paired_about(start: tuple[float, float], radius: float) -> Centre | None:
        reach = radius * max(small.shape)
        return friedel_centre(positions, strength, guess=start, search_radius=reach, view=view)

    near = paired_about(guess, 0.03)
    if near and near.pairs >= 3 and near.paired_fraction > _POORLY_PAIRED:
        return near.x, near.y
    # Without diffuse light about the centre the frame's symmetry may be that of some spots only.
    far = paired_about(_middle(small), 0.15)
    if far and far.pairs >= 5 and far.paired_fraction > _WELL_PAIRED:
        return far.x, far.y
    return guess


def _middle(image: FloatImage) -> tuple[float, float]:
    return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2


def _detect(
    frame: Frame, small: FloatImage, factor: int, center: tuple[float, float]
) -> tuple[BoolImage, Peaks, float]:
    """Usable pixels of the frame, its significant peaks, and their deviation in pixels."""
    rings = Rings.about(small.shape, center)
    level, noise = rings.level_and_noise(small)
    residual = small - level[rings.number]
    covered = shadow(residual, np.maximum(noise, 1e-30)[rings.number])
    usable = ~covered
    residual -= local_level(residual, usable)
    sigma = _FIRST_SIGMA
    rows, columns = _significant(residual, rings, usable, sigma, 2 * DETECTION)
    if len(rows) < 3:
        rows, columns = _significant(residual, rings, usable, sigma, DETECTION)
    if not len(rows):
        raise NoSpotsError("no spots stand out from the background; is the frame blank or underexposed?")
    strong = np.argsort(-residual[rows, columns])[:40]
    full = _full_positions(rows[strong], columns[strong], factor)
    sigma = spot_sigma(frame.counts, full, _FIRST_SIGMA * factor, frame.saturation_level)
    rows, columns = _significant(residual, rings, usable, float(np.clip(sigma / factor, 0.8, 6)), DETECTION)
    strongest = np.argsort(-residual[rows, columns])[:MAXIMUM_SPOTS]
    full = _full_positions(rows[strongest], columns[strongest], factor)
    whole = usable if factor == 1 else _enlarged(usable, factor, frame.shape)
    return whole, _measured(frame, full, sigma, whole), sigma


def _significant(
    residual: FloatImage, rings: Rings, usable: BoolImage, sigma: float, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Maxima of the matched filter that exceed `threshold` times its noise on their ring."""
    filtered = ndi.gaussian_filter(np.where(usable, residual, 0), sigma, truncate=3)
    level, noise = rings.level_and_noise(filtered, usable)
    limit = (level + threshold * np.maximum(noise, 1e-4 * filtered.max() / threshold))[rings.number]
    rows, columns = local_maxima(filtered, limit)
    free = usable[rows, columns]
    return rows[free], columns[free]


def _full_positions(rows: NDArray[np.intp], columns: NDArray[np.intp], factor: int) -> NDArray[np.float64]:
    return (np.column_stack([columns, rows]).astype(np.float64) + 0.5) * factor - 0.5


def _enlarged(mask: BoolImage, factor: int, shape: tuple[int, int]) -> BoolImage:
    whole = np.ones(shape, dtype=bool)
    large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
    whole[: large.shape[0], : large.shape[1]] = large
    return whole


def _measured(frame: Frame, pixels: NDArray[np.float64], sigma: float, usable: BoolImage) -> Peaks:
    """Fit all spots twice, the second time free of their neighbours, and keep the significant ones."""
    peaks = fit_peaks(frame.counts, pixels, sigma, usable=usable, saturation=frame.saturation_level)
    peaks = _distinct(peaks.take(_is_significant(peaks)), sigma)
    picture = draw_peaks(frame.shape, peaks, sigma)
    peaks = fit_peaks(
        frame.counts,
        peaks.pixels,
        sigma,
        usable=usable,
        saturation=frame.saturation_level,
        drawn=(picture, peaks),
        move=False,
    )
    return peaks.take(_is_significant(peaks))


def _is_significant(peaks: Peaks) -> BoolImage:
    return (peaks.amplitude > 0) & (peaks.amplitude > SIGNIFICANCE * peaks.amplitude_error)


def _distinct(peaks: Peaks, sigma: float) -> Peaks:
    """Of peaks that came to lie within a deviation and a half, the strongest."""
    order = np.argsort(-peaks.amplitude)
    pixels = peaks.pixels[order]
    near = np.linalg.norm(pixels[:, None] - pixels[None], axis=2) < 1.5 * sigma
    return peaks.take(np.sort(order[~np.tril(near, -1).any(axis=1)]))


def _refined_centre(frame: Frame, peaks: Peaks, rough: tuple[float, float]) -> Centre:
    if len(peaks) >= 3:
        height, width = frame.shape
        found = friedel_centre(
            peaks.pixels,
            peaks.amplitude,
            guess=rough,
            search_radius=0.02 * max(frame.shape),
            view=(0, 0, width - 1, height - 1),
        )
        if found is not None:
            return found
    return Centre(*rough, pairs=0, paired_fraction=0.0)


def _without_direct_beam(peaks: Peaks, center: Centre, sigma: float) -> Peaks:
    radius = np.linalg.norm(peaks.pixels - [center.x, center.y], axis=1)
    return peaks.take(radius > 4 * sigma)
