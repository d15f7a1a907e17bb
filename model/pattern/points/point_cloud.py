"""Points to spots: determine units, scale and center, and check whether the intensities are plausible."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError, UnknownFormatError
from model.pattern.beam_center.symmetry_center import find_friedel_center
from model.pattern.options import PatternOptions
from model.pattern.points.json_points import read_point_json
from model.pattern.points.point_table import PointTable, make_point_table
from model.pattern.points.text_points import read_point_text
from model.pattern.scale import Units, choose_nominal_pixel_size, require_plausible_scale
from model.pattern.spots import DIRECT_BEAM_RADIUS_INV_ANGSTROM, Calibration, Spots

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_PIXEL_POSITION = 1e6
MIN_RELATIVE_INTENSITY = 1e-30
"""Weaker intensities, relative to the strongest, are zeros with rounding errors."""

# Without this many spots over this range of |q|, the fall-off of the intensities cannot be judged.
_MIN_JUDGED_SPOTS, _MIN_JUDGED_RANGE_INV_ANGSTROM = 30, 0.8
_MIN_STRONG_SPOTS, _MIN_STRONG_RANGE_INV_ANGSTROM = 12, 0.6
_MAX_SLOPE_ANGSTROM = -0.5
_NEAR_INV_ANGSTROM, _WEAK_RATIO = 0.25, 0.05

_IMPLAUSIBLE_INTENSITIES = (
    "The intensities do not fall off with the scattering angle as those of atoms do, so they were ignored and only the "
    "geometry of the pattern is matched; give measured intensities for a better answer."
)


def make_spots_from_points(points: Any, options: PatternOptions) -> Spots:
    """Make spots from an array or nested lists of rows [x, y] or [x, y, intensity].

    Positions in 1/angstrom (the default) and 1/nm are relative to the direct beam. For positions in pixels the center
    is found by Friedel symmetry unless it is given.

    Raises:
        NoSpotsError: There are fewer than three points besides the direct beam.
        OptionError: Options contradict the points, the scale is implausible, or the center cannot be found.
        TooLargeError: There are more than 100,000 points.
        UnreadableError: Rows are not points, values are not finite, or intensities are negative.
    """
    return _make_spots_from_table(make_point_table(points), options)


def read_point_cloud(text: str, options: PatternOptions) -> Spots:
    """Read spots from the text of a file, JSON or a table; see `read_point_json` and `read_point_text`.

    Raises:
        UnknownFormatError: The text is neither.
        As `make_spots_from_points`.
    """
    text = text.lstrip("\ufeff")
    body = text.lstrip()
    if not body:
        raise UnknownFormatError("The file is empty; upload a diffraction pattern.")
    reader = read_point_json if body[0] in "{[" else read_point_text
    return _make_spots_from_table(reader(text, options.units), options)


def _make_spots_from_table(table: PointTable, options: PatternOptions) -> Spots:
    """Settle units, scale and center; drop the direct beam, repeated points and points of zero intensity.

    Raises:
        As `make_spots_from_points`.
    """
    if options.frame is not None:
        raise OptionError("frame applies only to files with several images; omit it for a table of points.")
    if options.camera is not None:
        raise OptionError(
            "calibration applies only to camera frames; give the scale of points with units and pixel_size."
        )
    table, drop_warnings = _drop_zeros_and_repeats(table)
    units, unit_warnings = _choose_units(table, options)
    warnings = [*table.warnings, *drop_warnings, *unit_warnings]
    if units == "pixel":
        return _make_spots_from_pixels(table, options, warnings)
    if options.pixel_size_inv_angstrom is not None or options.center_px is not None:
        raise OptionError(
            f"pixel_size and center apply only to positions in pixels, but these are in {units}; omit them."
        )
    q = table.positions * (0.1 if units == "1/nm" else 1.0)
    require_plausible_scale(q, units)
    is_stated = table.units == units and options.units is None
    calibration: Calibration = "file" if is_stated else "request"
    is_spot, intensity, intensity_warnings = _select_spots(q, table)
    return Spots(
        q_inv_angstrom=q[is_spot],
        intensity=intensity,
        calibration=calibration,
        scale_sigma=options.choose_scale_sigma(calibration),
        voltage_kv=table.voltage_kv,
        warnings=(*warnings, *intensity_warnings),
    )


def _drop_zeros_and_repeats(table: PointTable) -> tuple[PointTable, list[str]]:
    """Drop points of zero intensity, and all but the strongest of points at one position."""
    keep = np.arange(len(table.positions))
    warnings = []
    if table.intensity is not None:
        keep = np.flatnonzero(table.intensity > MIN_RELATIVE_INTENSITY * table.intensity.max())
    if len(keep) < len(table.positions):
        warnings.append(f"Points of zero intensity were omitted ({len(table.positions) - len(keep)}).")
    if table.intensity is not None:
        keep = keep[np.argsort(-table.intensity[keep], kind="stable")]
    first = np.sort(np.unique(table.positions[keep], axis=0, return_index=True)[1])
    if len(first) < len(keep):
        warnings.append(f"Points at duplicate positions were omitted ({len(keep) - len(first)}).")
    keep = np.sort(keep[first])
    if len(keep) == len(table.positions):
        return table, warnings
    intensity = None if table.intensity is None else table.intensity[keep]
    return replace(table, positions=table.positions[keep], intensity=intensity), warnings


def _choose_units(table: PointTable, options: PatternOptions) -> tuple[Units, list[str]]:
    if options.units is not None:
        if table.units not in {None, options.units}:
            return options.units, [f"The file states {table.units}; the request's {options.units} was used."]
        return options.units, []
    if table.units is not None:
        return table.units, []
    has_pixel_options = options.pixel_size_inv_angstrom is not None or options.center_px is not None
    if table.pixel_size_inv_angstrom is not None or has_pixel_options:
        return "pixel", []
    return "1/angstrom", []


def _make_spots_from_pixels(table: PointTable, options: PatternOptions, warnings: list[str]) -> Spots:
    size = options.pixel_size_inv_angstrom
    calibration: Calibration = "request"
    if size is None:
        size = table.pixel_size_inv_angstrom
        calibration = "unknown" if table.pixel_size_assumed else "file"
        if table.pixel_size_assumed:
            warnings = [
                *warnings,
                f"A pixel size of {size} 1/angstrom, that of the published patterns, was assumed; give pixel_size.",
            ]
    farthest = float(np.abs(table.positions).max())
    if farthest > MAX_PIXEL_POSITION:
        raise OptionError(
            f"Positions in pixels reach {farthest:.3g}, farther than any camera; give their units."
        )
    center = options.center_px or table.center_px
    if center is None:
        center, center_warnings = _find_center(table)
        warnings += center_warnings
    offsets = table.positions - center
    if size is not None:
        require_plausible_scale(offsets * size, "pixel", size)
    scale_is_known, size = size is not None, size or choose_nominal_pixel_size(offsets)
    is_spot, intensity, intensity_warnings = _select_spots(offsets * size, table)
    return Spots(
        q_inv_angstrom=(offsets * size)[is_spot],
        intensity=intensity,
        pixels=table.positions[is_spot],
        center_px=center,
        pixel_size_inv_angstrom=size,
        calibration=calibration if scale_is_known else "unknown",
        scale_is_known=scale_is_known,
        scale_sigma=options.choose_scale_sigma(calibration),
        voltage_kv=table.voltage_kv,
        warnings=(*warnings, *intensity_warnings),
    )


def _find_center(table: PointTable) -> tuple[tuple[float, float], list[str]]:
    center = find_friedel_center(table.positions, table.intensity)
    if center is None or center.pairs < 2:
        raise OptionError(
            "The center cannot be found because too few spots have a Friedel mate; give center as x, y."
        )
    warnings = []
    if center.paired_fraction < 0.5:
        warnings = [
            f"Only {center.paired_fraction:.0%} of the spots have a Friedel mate about the center found "
            f"({center.x:.1f}, {center.y:.1f}); check it, and give center if it is wrong."
        ]
    return (center.x, center.y), warnings


def _select_spots(q: FloatArray, table: PointTable) -> tuple[BoolArray, FloatArray | None, tuple[str, ...]]:
    """Return which points are spots, not the direct beam, and their intensities where plausible, with warnings."""
    is_spot = np.linalg.norm(q, axis=1) > DIRECT_BEAM_RADIUS_INV_ANGSTROM
    if table.intensity is None:
        return is_spot, None, ()
    intensity = table.intensity[is_spot]
    if not are_plausible_intensities(q[is_spot], intensity):
        return is_spot, None, (_IMPLAUSIBLE_INTENSITIES,)
    return is_spot, intensity, ()


def are_plausible_intensities(q_inv_angstrom: FloatArray, intensity: FloatArray) -> bool:
    """Return whether ln I falls off with |q|, as the scattering factor of every atom does.

    The squared electron scattering factors of all elements fall by more than a factor of ten from 0.3 to
    1.2 1/angstrom, those for X-rays by three at least, which is a slope of ln I below -1 angstrom. Rounding noise, and
    numbers that are not intensities, have no such slope.

    Args:
        q_inv_angstrom: (N, 2) without the direct beam.
        intensity: (N,) positive.

    Returns:
        True also where there are too few spots, or over too small a range, to judge.
    """
    length = np.linalg.norm(q_inv_angstrom, axis=1)
    if len(length) < _MIN_JUDGED_SPOTS or np.ptp(length) < _MIN_JUDGED_RANGE_INV_ANGSTROM:
        return True
    log_intensity = np.log(intensity)
    if _falls_off(length, log_intensity):
        return True
    # Spots much weaker than others at about the same |q|, as those of a superlattice, are only seen near the center.
    outward = np.argsort(length, kind="stable")
    length, log_intensity = length[outward], log_intensity[outward]
    first = np.searchsorted(length, length - _NEAR_INV_ANGSTROM, side="right")
    beyond = np.searchsorted(length, length + _NEAR_INV_ANGSTROM, side="left")
    ends = np.column_stack([first, beyond]).ravel()
    strongest_near = np.maximum.reduceat(np.append(log_intensity, -np.inf), ends)[::2]
    is_strong = log_intensity > strongest_near + log(_WEAK_RATIO)
    can_judge = (
        np.count_nonzero(is_strong) >= _MIN_STRONG_SPOTS
        and np.ptp(length[is_strong]) >= _MIN_STRONG_RANGE_INV_ANGSTROM
    )
    return bool(can_judge) and _falls_off(length[is_strong], log_intensity[is_strong])


def _falls_off(length: FloatArray, log_intensity: FloatArray) -> bool:
    """Return whether the slope of ln I against |q| is at least as steep as that of atoms, within two sigma."""
    x = length - length.mean()
    slope = float(x @ log_intensity / (x @ x))
    residual = log_intensity - log_intensity.mean() - slope * x
    sigma = float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
    return slope - 2 * sigma < _MAX_SLOPE_ANGSTROM
