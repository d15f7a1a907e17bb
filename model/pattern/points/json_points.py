"""Points as JSON: rows, records, columns, or the layout of the published DD2D patterns."""

import json
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from model.errors import UnknownFormatError, UnreadableError
from model.pattern.options import PatternOptions
from model.pattern.points.columns import Column, choose_columns, warn_of_unused
from model.pattern.points.point_table import (
    PointTable,
    check_bracket_count,
    check_point_count,
    exponentiate_intensity,
    make_point_table,
)
from model.pattern.scale import Units, parse_units

# The published patterns of DD2D (Fu et al., Commun. Phys. 8, 221, 2025) have 201 x 201 pixels and rounded positions.
DD2D_PIXEL_SIZE_INV_ANGSTROM = 0.025
DD2D_CENTER_PX = (100.5, 100.5)
_DD2D_PADDING = (-1.0, 0.0)

_POINT_KEYS = ("points", "spots", "peaks", "reflections", "data")
_NO_POINTS = 'The JSON contains no points; give {"points": [[x, y, intensity], ...]}.'


def read_point_json(text: str, preferred_units: Units | None = None) -> PointTable:
    """Read `{"points": [[x, y, i], ...]}`, a bare list, a list of records, columns, or the `{"X": ...}` of DD2D.

    Beside the points, `units`, `pixel_size` (1/angstrom), `center` and `voltage_kv` are read.

    Raises:
        UnreadableError: The JSON is damaged, or points are not numbers.
        UnknownFormatError: The JSON contains no points.
        TooLargeError: There are more points than the limit.
    """
    check_bracket_count(text.count("[") + text.count("{"))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"The JSON is damaged ({error}); save it again.") from error
    if isinstance(content, list):
        return _read_list(content, preferred_units, {})
    if not isinstance(content, dict):
        raise UnknownFormatError(_NO_POINTS)
    if "X" in content and _is_dd2d(content["X"]):
        return _read_dd2d(content["X"], content)
    for key in _POINT_KEYS:
        if isinstance(content.get(key), list):
            return _read_list(content[key], preferred_units, content)
    return _read_columns(content, preferred_units, content)


def _read_list(points: list[Any], preferred: Units | None, metadata: dict[str, Any]) -> PointTable:
    check_point_count(len(points))
    if all(isinstance(point, dict) for point in points):
        names = list(points[0])
        if any(set(point) != set(names) for point in points):
            names = sorted(set.intersection(*(set(point) for point in points)))
        return _read_columns({name: [point[name] for point in points] for name in names}, preferred, metadata)
    if not all(isinstance(point, list) for point in points):
        raise UnreadableError("Each point must be a list [x, y, intensity] or an object with x and y.")
    return make_point_table(points, **_read_metadata(metadata))


def _read_columns(columns: dict[str, Any], preferred: Units | None, metadata: dict[str, Any]) -> PointTable:
    names = [name for name, values in columns.items() if isinstance(values, list)]
    chosen = choose_columns(names, preferred)
    if chosen is None:
        raise UnknownFormatError(_NO_POINTS)
    x, _, intensity = chosen
    stated = _read_metadata(metadata)
    stated["units"] = x.units or stated["units"]
    used = [column for column in chosen if column is not None]
    if len({len(columns[names[column.index]]) for column in used}) > 1:
        raise UnreadableError(
            "The columns of the JSON differ in length; give each column one entry per point."
        )
    rows = list(zip(*(columns[names[column.index]] for column in used), strict=True))
    if intensity is None or intensity.role != "log_intensity":
        table = make_point_table(rows, **stated)
        return replace(table, warnings=(*warn_of_unused(names, chosen), *table.warnings))
    return _make_table_with_logarithms(rows, intensity, stated)


def _make_table_with_logarithms(rows: list[Any], column: Column, stated: dict[str, Any]) -> PointTable:
    table = make_point_table([row[:2] for row in rows], **stated)
    logarithm = _parse_floats([row[2] for row in rows])
    return PointTable(table.positions, exponentiate_intensity(logarithm, column.log_base), **stated)


def _read_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return units, pixel size, center and voltage given with the points, checked like the options of a request."""
    units = metadata.get("units")
    parsed = parse_units(units) if isinstance(units, str) else None
    if units is not None and parsed is None:
        raise UnreadableError(
            f"The units {units!r:.40} of the JSON are unknown; use 1/angstrom, 1/nm or pixel."
        )
    center = metadata.get("center", metadata.get("centre"))
    if center is not None and not (isinstance(center, list) and len(center) == 2):
        raise UnreadableError("The center given with the points must be two numbers, x and y in pixels.")
    try:
        options = PatternOptions(
            parsed,
            None if metadata.get("pixel_size") is None else float(metadata["pixel_size"]),
            None if center is None else cast(tuple[float, float], tuple(float(c) for c in center)),
        )
        voltage = None if metadata.get("voltage_kv") is None else float(metadata["voltage_kv"])
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(
            f"pixel_size, center or voltage_kv given with the points is not a number: {error!s:.80}."
        ) from error
    if voltage is not None and not (math.isfinite(voltage) and voltage > 0):
        raise UnreadableError(
            f"voltage_kv given with the points is {voltage}; give the accelerating voltage in kV."
        )
    return {
        "units": options.units,
        "pixel_size_inv_angstrom": options.pixel_size_inv_angstrom,
        "center_px": options.center_px,
        "voltage_kv": voltage,
    }


def _is_dd2d(rows: Any) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) == 3
        and all(isinstance(row, list) for row in rows)
        and len({len(row) for row in rows}) == 1
    )


def _read_dd2d(rows: list[list[Any]], metadata: dict[str, Any]) -> PointTable:
    """Read rows of x, y and ln intensity, in pixels of the published patterns unless the file states otherwise."""
    check_point_count(len(rows[0]))
    x, y, logarithm = (_parse_floats(row) for row in rows)
    count = len(x)
    while count and x[count - 1] == y[count - 1] and x[count - 1] in _DD2D_PADDING:
        count -= 1
    check_point_count(count)
    stated = _read_metadata(metadata)
    if stated["units"] in {None, "pixel"}:
        stated["pixel_size_assumed"] = stated["pixel_size_inv_angstrom"] is None
        stated["units"] = "pixel"
        stated["pixel_size_inv_angstrom"] = stated["pixel_size_inv_angstrom"] or DD2D_PIXEL_SIZE_INV_ANGSTROM
        stated["center_px"] = stated["center_px"] or DD2D_CENTER_PX
    positions = np.column_stack([x, y])[:count]
    return PointTable(positions, exponentiate_intensity(logarithm[:count], math.e), **stated)


def _parse_floats(values: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"A point contains something that is not a number: {error!s:.80}.") from error
