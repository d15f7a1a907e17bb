"""Columns of a table of spots, interpreted by their names."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from model.pattern.scale import Units, parse_units

Role = Literal["x", "y", "intensity", "peak_intensity", "log_intensity"]
"""Positions, integrated intensities, heights of peaks, and logarithms of either."""

_POSITION = re.compile(r"(?P<symbol>[qkgs]?)_?(?P<axis>[xy])(_?(pos|position|coord|cent(er|re|roid)))?")
_INTEGRATED = re.compile(
    r"i|int|intens|intensity|intensities|counts?|value|i_?obs|i_?(hk|hkl|sum)|volume|(raw)?intden|"
    r"(integrated|sum|total|raw)_?(i|int|intensity|counts|density)|intensity_?(sum|raw|counts|au)"
)
_PEAK = re.compile(
    r"mean|max|peak|height|amplitude|(peak|mean|max|average)_?(i|int|intensity|counts|value|height|amplitude)|"
    r"(i|int|intensity)_?(peak|mean|max)|mean_?gr[ae]y(_value)?"
)
_LOGARITHM = re.compile(r"(?P<base>ln|log10|log2|log)_?(?P<argument>.+)")
_PREFERENCE: tuple[Role, ...] = ("intensity", "log_intensity", "peak_intensity")
_BRACKET = re.compile(r"[(\[{]")
# Longer names, and columns beyond this number, are not interpreted.
_MAX_NAME_LENGTH = 100
_MAX_COLUMNS = 200
# Units are spelled with at most this many words, and empty ones where the name has several spaces in a row.
_MAX_UNIT_WORDS = 6


@dataclass(frozen=True)
class Column:
    """The meaning of a column.

    Attributes:
        index: its place in the table.
        role: what it holds.
        units: units that its name states, or None.
        is_reciprocal: whether it is a component of a scattering vector.
        log_base: base of a logarithm.
    """

    index: int
    role: Role
    units: Units | None = None
    is_reciprocal: bool = False
    log_base: float = math.e


def describe_column(name: str, index: int) -> Column | None:
    """Return the meaning of a column from its name, or None if the name is not known."""
    if len(name) > _MAX_NAME_LENGTH:
        return None
    stem, units = _split_units(name)
    logarithm = _LOGARITHM.fullmatch(stem)
    if logarithm and _find_intensity_role(logarithm["argument"].strip("_")):
        log_base = {"log10": 10.0, "log2": 2.0}.get(logarithm["base"], math.e)
        return Column(index, "log_intensity", log_base=log_base)
    intensity = _find_intensity_role(stem)
    if intensity:
        return Column(index, intensity)
    position = _POSITION.fullmatch(stem)
    if position is None and stem in {"col", "column", "row"}:
        return Column(index, "y" if stem == "row" else "x", "pixel")
    if position is None:
        return None
    return Column(index, "x" if position["axis"] == "x" else "y", units, bool(position["symbol"]))


def _find_intensity_role(name: str) -> Literal["intensity", "peak_intensity"] | None:
    if _INTEGRATED.fullmatch(name):
        return "intensity"
    return "peak_intensity" if _PEAK.fullmatch(name) else None


def _split_units(name: str) -> tuple[str, Units | None]:
    """Split `qx (1/nm)` or `qx_nm-1` into the name of the quantity and its units."""
    text = name.strip().strip("\"'").lower().replace("−", "-").rstrip()
    bracket = _BRACKET.search(text)
    if bracket and text.endswith((")", "]", "}")):
        inside = text[bracket.end() : -1].strip()
        stem = re.sub(r"[\s\-.]+", "_", text[: bracket.start()].rstrip()).strip("_")
        if stem in {"ln", "log", "log10", "log2"}:
            stem = f"{stem}_{inside}"
        return stem, parse_units(inside)
    stem = re.sub(r"[\s.]+", "_", text).strip("_")
    parts = stem.split("_")
    for cut in range(max(1, len(parts) - _MAX_UNIT_WORDS), len(parts)):
        units = parse_units("_".join(parts[cut:]))
        if units:
            return "_".join(parts[:cut]), units
    return stem, None


def choose_columns(names: list[str], preferred: Units | None) -> tuple[Column, Column, Column | None] | None:
    """Choose the x, y and intensity columns of a header, or return None if it has no x and y.

    Scattering vectors are preferred to pixel positions unless the user states `pixel`; integrated intensities are
    preferred to their logarithms, and both to the heights of peaks.
    """
    described = (describe_column(name, i) for i, name in enumerate(names[:_MAX_COLUMNS]))
    columns = [column for column in described if column is not None]
    first_y: dict[tuple[bool, Units | None], Column] = {}
    for column in columns:
        if column.role == "y":
            first_y.setdefault((column.is_reciprocal, column.units), column)
    pairs = [
        (x, first_y[x.is_reciprocal, x.units])
        for x in columns
        if x.role == "x" and (x.is_reciprocal, x.units) in first_y
    ]
    if not pairs:
        return None
    prefers_pixels = preferred == "pixel"
    best = min(pairs, key=lambda pair: (_is_pixel(pair[0]) != prefers_pixels, pair[0].index))
    intensities = sorted(
        (column for column in columns if column.role in _PREFERENCE),
        key=lambda column: (_PREFERENCE.index(column.role), column.index),
    )
    return (*best, intensities[0] if intensities else None)


def warn_of_unused(names: list[str], chosen: tuple[Column, Column, Column | None]) -> tuple[str, ...]:
    """Return a warning if none of several other columns is named as an intensity."""
    x, y, intensity = chosen
    others = [name.strip() for i, name in enumerate(names) if i not in {x.index, y.index} and name.strip()]
    if intensity is not None or not others:
        return ()
    return (
        "No column is named as an intensity, so only the geometry of the pattern is matched; if one of "
        f"{', '.join(others)[:80]} is the intensity, name it intensity.",
    )


def _is_pixel(column: Column) -> bool:
    return column.units == "pixel" or (column.units is None and not column.is_reciprocal)
