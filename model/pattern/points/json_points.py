"""Point clouds as JSON: rows, records, columns, or DD2D's own form."""

import json
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from model.errors import UnknownFormatError, UnreadableError
from model.pattern.options import PatternOptions, Units
from model.pattern.points.columns import Column, choose_columns, parse_units, warn_of_unused
from model.pattern.points.point_table import (
    PointTable,
    check_bracket_count,
    check_count,
    intensity_from_logarithm,
    table_from_rows,
)

# Published patterns of DD2D (Fu et al., Commun. Phys. 8, 221, 2025): 201 x 201 pixels, positions rounded.
DD2D_PIXEL_SIZE_INV_ANGSTROM = 0.025
DD2D_CENTER_PX = (100.5, 100.5)
_DD2D_PADDING = (-1.0, 0.0)

_POINT_KEYS = ("points", "spots", "peaks", "reflections", "data")


def read_point_json(text: str, preferred_units: Units | None = None) -> PointTable:
    """Read `{"points": [[x, y, i], ...]}`, a bare list, a list of records, columns, or DD2D's `{"X": ...}`.

    Beside the points, `units`, `pixel_size` (1/angstrom), `center` and `voltage_kv` are understood.

    Raises:
        UnreadableError: JSON that is damaged, or points that are no numbers.
        UnknownFormatError: JSON without points.
        TooLargeError: JSON of more points than are read.
    """
    check_bracket_count(text.count("[") + text.count("{"))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the JSON is damaged: {error}; save it again") from error
    if isinstance(content, list):
        return _from_list(content, preferred_units, {})
    if not isinstance(content, dict):
        raise UnknownFormatError('the JSON holds no points; give {"points": [[x, y, intensity], ...]}')
    if "X" in content and _is_dd2d(content["X"]):
        return _from_dd2d(content["X"], content)
    for key in _POINT_KEYS:
        if isinstance(content.get(key), list):
            return _from_list(content[key], preferred_units, content)
    return _from_records(content, preferred_units, content)


def _from_list(points: list[Any], preferred: Units | None, about: dict[str, Any]) -> PointTable:
    check_count(len(points))
    if all(isinstance(point, dict) for point in points):
        names = list(points[0])
        if any(set(point) != set(names) for point in points):
            names = sorted(set.intersection(*(set(point) for point in points)))
        return _from_records({name: [point[name] for point in points] for name in names}, preferred, about)
    if not all(isinstance(point, list) for point in points):
        raise UnreadableError("each point must be a list [x, y, intensity] or an object with x and y")
    return table_from_rows(points, **_stated(about))


def _from_records(columns: dict[str, Any], preferred: Units | None, about: dict[str, Any]) -> PointTable:
    names = [name for name, values in columns.items() if isinstance(values, list)]
    chosen = choose_columns(names, preferred)
    if chosen is None:
        raise UnknownFormatError('the JSON holds no points; give {"points": [[x, y, intensity], ...]}')
    x, _, intensity = chosen
    stated = _stated(about)
    stated["units"] = x.units or stated["units"]
    used = [column for column in chosen if column is not None]
    if len({len(columns[names[column.index]]) for column in used}) > 1:
        raise UnreadableError("the columns of the JSON differ in length")
    rows = list(zip(*(columns[names[column.index]] for column in used), strict=True))
    if intensity is None or intensity.role != "log_intensity":
        table = table_from_rows(rows, **stated)
        return replace(table, warnings=(*warn_of_unused(names, chosen), *table.warnings))
    return _with_logarithms(rows, intensity, stated)


def _with_logarithms(rows: list[Any], column: Column, stated: dict[str, Any]) -> PointTable:
    table = table_from_rows([row[:2] for row in rows], **stated)
    logarithm = _floats([row[2] for row in rows])
    intensity = intensity_from_logarithm(logarithm, column.log_base)
    return PointTable(table.positions, intensity, **stated)


def _stated(about: dict[str, Any]) -> dict[str, Any]:
    """Units, pixel size, centre and voltage written beside the points, checked as the user's options are."""
    units = about.get("units")
    parsed = parse_units(units) if isinstance(units, str) else None
    if units is not None and parsed is None:
        raise UnreadableError(f"the JSON's units {units!r} are not known; use 1/angstrom, 1/nm or pixel")
    center = about.get("center", about.get("centre"))
    try:
        options = PatternOptions(
            parsed,
            None if about.get("pixel_size") is None else float(about["pixel_size"]),
            None if center is None else cast(tuple[float, float], tuple(float(c) for c in center)),
        )
        voltage = None if about.get("voltage_kv") is None else float(about["voltage_kv"])
    except (TypeError, ValueError, OverflowError) as error:
        told = f"pixel_size, center or voltage_kv beside the points is not a number: {error}"
        raise UnreadableError(told) from error
    if voltage is not None and not (math.isfinite(voltage) and voltage > 0):
        raise UnreadableError(
            f"voltage_kv beside the points is {voltage}; give the accelerating voltage in kV"
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


def _from_dd2d(rows: list[list[Any]], about: dict[str, Any]) -> PointTable:
    """Rows of x, y and ln intensity; in pixels of the published patterns unless the file says otherwise."""
    check_count(len(rows[0]))
    x, y, logarithm = (_floats(row) for row in rows)
    real = len(x)
    while real and x[real - 1] == y[real - 1] and x[real - 1] in _DD2D_PADDING:
        real -= 1
    check_count(real)
    stated = _stated(about)
    if stated["units"] in {None, "pixel"}:
        stated["pixel_size_assumed"] = stated["pixel_size_inv_angstrom"] is None
        stated["units"] = "pixel"
        stated["pixel_size_inv_angstrom"] = stated["pixel_size_inv_angstrom"] or DD2D_PIXEL_SIZE_INV_ANGSTROM
        stated["center_px"] = stated["center_px"] or DD2D_CENTER_PX
    positions = np.column_stack([x, y])[:real]
    return PointTable(positions, intensity_from_logarithm(logarithm[:real], math.e), **stated)


def _floats(values: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"a point holds something that is not a number: {error}") from error
