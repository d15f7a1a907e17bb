"""From a point cloud to Spots: units, centre, direct beam, and whether the intensities can be believed."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError, UnknownFormatError
from model.pattern.beam_center.friedel_center import find_friedel_center
from model.pattern.options import PatternOptions, Units
from model.pattern.points.json_points import read_point_json
from model.pattern.points.plausibility import intensities_fall_off
from model.pattern.points.point_table import PointTable, table_from_rows
from model.pattern.points.text_points import read_point_text
from model.pattern.scale import DIRECT_BEAM_RADIUS_INV_ANGSTROM, nominal_pixel_size, require_plausible_scale
from model.pattern.spots import Calibration, Spots

FloatArray = NDArray[np.float64]

LARGEST_PIXEL = 1e6
WEAKEST_BY_STRONGEST = 1e-30
"""An intensity below this is a zero that somebody's arithmetic left over; ratios of the others are finite."""

_NOT_PHYSICAL = (
    "The intensities do not fall off with the scattering angle as those of atoms do, so they were left out "
    "and the pattern is matched on its geometry alone; give measured intensities for a sharper answer."
)
_ASSUMED = "1/angstrom per pixel, that of the published patterns, was assumed; give pixel_size."


def spots_from_points(points: Any, options: PatternOptions) -> Spots:
    """Spots from an array or nested lists of rows [x, y] or [x, y, intensity].

    In 1/angstrom (the default) and 1/nm the direct beam is at the origin; in pixels the centre is found by
    Friedel symmetry unless given.

    Raises:
        NoSpotsError: fewer than three points besides the direct beam.
        OptionError: options that contradict the points, a scale that cannot be right, no centre.
        TooLargeError: more than 100,000 points.
        UnreadableError: rows that are no points, values that are not finite, negative intensities.
    """
    return spots_from_table(table_from_rows(points), options)


def read_point_cloud(text: str, options: PatternOptions) -> Spots:
    """Spots from the text of a file, JSON or a table; see `read_point_json` and `read_point_text`.

    Raises:
        UnknownFormatError: text that is neither.
        As `spots_from_points`.
    """
    text = text.lstrip("\ufeff")
    body = text.lstrip()
    if not body:
        raise UnknownFormatError("the file is empty")
    reader = read_point_json if body[0] in "{[" else read_point_text
    return spots_from_table(reader(text, options.units), options)


def spots_from_table(table: PointTable, options: PatternOptions) -> Spots:
    """Settle units, scale and centre; drop the direct beam, repeated points and points of zero intensity.

    Raises:
        As `spots_from_points`.
    """
    if options.frame is not None:
        raise OptionError("frame is for files with several images; a table of points has none")
    if options.camera is not None:
        raise OptionError(
            "calibration is for camera frames; give the scale of points by units and pixel_size"
        )
    table, dropped = _distinct(table)
    units, assumed = _units(table, options)
    warnings = [*table.warnings, *dropped, *assumed]
    if units == "pixel":
        return _from_pixels(table, options, warnings)
    if options.pixel_size_inv_angstrom is not None or options.center_px is not None:
        raise OptionError(f"pixel_size and center are for positions in pixels; these are in {units}")
    q = table.positions * (0.1 if units == "1/nm" else 1.0)
    require_plausible_scale(q, units)
    stated = table.units == units and options.units is None
    calibration: Calibration = "file" if stated else "request"
    sigma = options.scale_sigma_for(calibration)
    return _assemble(q, table, warnings, calibration=calibration, scale_sigma=sigma)


def _units(table: PointTable, options: PatternOptions) -> tuple[Units, list[str]]:
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


def _from_pixels(table: PointTable, options: PatternOptions, warnings: list[str]) -> Spots:
    size = options.pixel_size_inv_angstrom
    calibration: Calibration = "request"
    if size is None:
        size = table.pixel_size_inv_angstrom
        calibration = "unknown" if table.pixel_size_assumed else "file"
        if table.pixel_size_assumed:
            warnings = [*warnings, f"{size} {_ASSUMED}"]
    farthest = float(np.abs(table.positions).max())
    if farthest > LARGEST_PIXEL:
        raise OptionError(
            f"positions in pixels reach {farthest:.3g}, farther than any camera; give their units"
        )
    center = options.center_px or table.center_px
    if center is None:
        center, doubt = _find_center(table)
        warnings += doubt
    offsets = table.positions - center
    if size is not None:
        require_plausible_scale(offsets * size, "pixel", size)
    known, size = size is not None, size or nominal_pixel_size(offsets)
    return _assemble(
        offsets * size,
        table,
        warnings,
        pixels=table.positions,
        center_px=center,
        pixel_size_inv_angstrom=size,
        calibration=calibration if known else "unknown",
        scale_is_known=known,
        scale_sigma=options.scale_sigma_for(calibration),
    )


def _find_center(table: PointTable) -> tuple[tuple[float, float], list[str]]:
    found = find_friedel_center(table.positions, table.intensity)
    if found is None or found.pairs < 2:
        raise OptionError(
            "the centre cannot be found: too few spots have a partner on the other side; give center as x, y"
        )
    doubt = []
    if found.paired_fraction < 0.5:
        doubt = [
            f"Only {found.paired_fraction:.0%} of the spots have a partner about the centre found "
            f"({found.x:.1f}, {found.y:.1f}); check it, and give center if it is wrong."
        ]
    return (found.x, found.y), doubt


def _distinct(table: PointTable) -> tuple[PointTable, list[str]]:
    """Without points of zero intensity, and with the strongest of points at one place."""
    keep = np.arange(len(table.positions))
    warnings = []
    if table.intensity is not None:
        keep = np.flatnonzero(table.intensity > WEAKEST_BY_STRONGEST * table.intensity.max())
    if len(keep) < len(table.positions):
        warnings.append(f"{len(table.positions) - len(keep)} points of zero intensity were left out.")
    if table.intensity is not None:
        keep = keep[np.argsort(-table.intensity[keep], kind="stable")]
    first = np.sort(np.unique(table.positions[keep], axis=0, return_index=True)[1])
    if len(first) < len(keep):
        warnings.append(f"{len(keep) - len(first)} points at the place of another were left out.")
    keep = np.sort(keep[first])
    if len(keep) == len(table.positions):
        return table, warnings
    intensity = None if table.intensity is None else table.intensity[keep]
    return replace(table, positions=table.positions[keep], intensity=intensity), warnings


def _assemble(
    q: FloatArray,
    table: PointTable,
    warnings: list[str],
    *,
    calibration: Calibration,
    scale_sigma: float,
    pixels: FloatArray | None = None,
    center_px: tuple[float, float] | None = None,
    pixel_size_inv_angstrom: float | None = None,
    scale_is_known: bool = True,
) -> Spots:
    away = np.linalg.norm(q, axis=1) > DIRECT_BEAM_RADIUS_INV_ANGSTROM
    q = q[away]
    intensity = None
    if table.intensity is not None:
        intensity = table.intensity[away]
        if not intensities_fall_off(q, intensity):
            intensity = None
            warnings = [*warnings, _NOT_PHYSICAL]
    return Spots(
        q_inv_angstrom=q,
        intensity=intensity,
        pixels=None if pixels is None else pixels[away],
        center_px=center_px,
        pixel_size_inv_angstrom=pixel_size_inv_angstrom,
        calibration=calibration,
        scale_is_known=scale_is_known,
        scale_sigma=scale_sigma,
        voltage_kv=table.voltage_kv,
        warnings=tuple(warnings),
    )
