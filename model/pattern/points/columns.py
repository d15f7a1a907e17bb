"""What the columns of a table of spots mean, told by their names."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from model.pattern.options import Units

Role = Literal["x", "y", "intensity", "peak_intensity", "log_intensity"]
"""Integrated intensities, those per pixel at the peak, and logarithms of either."""

_POSITION = re.compile(r"(?P<kind>[qkgs]?)_?(?P<axis>[xy])(_?(pos|position|coord|center|centre|centroid))?")
_INTEGRATED = re.compile(
    r"i|int|intens|intensity|intensities|counts?|value|i_?obs|i_?(hk|hkl|sum)|volume|(raw)?intden|"
    r"(integrated|sum|total|raw)_?(i|int|intensity|counts|density)|intensity_?(sum|raw|counts|au)"
)
_AT_THE_PEAK = re.compile(
    r"mean|max|peak|height|amplitude|(peak|mean|max|average)_?(i|int|intensity|counts|value|height|amplitude)|"
    r"(i|int|intensity)_?(peak|mean|max)|mean_?gr[ae]y(_value)?"
)
_LOGARITHM = re.compile(r"(?P<base>ln|log10|log2|log)_?(?P<of>.+)")
_UNITS: tuple[tuple[Units, re.Pattern[str]], ...] = (
    ("pixel", re.compile(r"(in_)?(px|pix|pixels?)")),
    ("1/nm", re.compile(r"1/nm|/nm|nm_?(\^?[-−]1|⁻¹|\*\*-1)|inv_?nm|per_?nm|nm_?inv|reciprocal_?nm")),
    (
        "1/angstrom",
        re.compile(
            r"1/(å|a|ang|angstroms?)|/(å|ang|angstroms?)|(å|a|ang|angstroms?)_?(\^?[-−]1|⁻¹|\*\*-1)|"
            r"inv_?(å|a|ang|angstroms?)|per_?(å|a|ang|angstroms?)|(å|ang|angstroms?)_?inv"
        ),
    ),
)
_BEST_FIRST: tuple[Role, ...] = ("intensity", "log_intensity", "peak_intensity")
# What is searched stays small, whatever a file holds: the patterns take time that grows with its square.
_LONGEST_NAME = 100
_MOST_COLUMNS = 200


@dataclass(frozen=True)
class Column:
    """One column's meaning: its role, the units its name states, and whether x, y is a reciprocal vector."""

    index: int
    role: Role
    units: Units | None = None
    reciprocal: bool = False
    log_base: float = math.e


def parse_units(text: str) -> Units | None:
    """The units a text such as `nm⁻¹`, `1/Å` or `px` stands for, or None."""
    cleaned = re.sub(r"[\s_]+", "_", text.strip().lower().replace("\\u207b\\u00b9", "⁻¹")).strip("_")
    for units, pattern in _UNITS:
        if pattern.fullmatch(cleaned):
            return units
    return None


def describe_column(name: str, index: int) -> Column | None:
    """The meaning of a column of this name, or None where it says nothing of spots."""
    if len(name) > _LONGEST_NAME:
        return None
    base, units = _split_units(name)
    logarithm = _LOGARITHM.fullmatch(base)
    if logarithm and _intensity_role(logarithm["of"].strip("_")):
        log_base = {"log10": 10.0, "log2": 2.0}.get(logarithm["base"], math.e)
        return Column(index, "log_intensity", log_base=log_base)
    intensity = _intensity_role(base)
    if intensity:
        return Column(index, intensity)
    position = _POSITION.fullmatch(base)
    if position is None and base in {"col", "column", "row"}:
        return Column(index, "y" if base == "row" else "x", "pixel")
    if position is None:
        return None
    return Column(index, "x" if position["axis"] == "x" else "y", units, bool(position["kind"]))


def _intensity_role(name: str) -> Literal["intensity", "peak_intensity"] | None:
    if _INTEGRATED.fullmatch(name):
        return "intensity"
    return "peak_intensity" if _AT_THE_PEAK.fullmatch(name) else None


def _split_units(name: str) -> tuple[str, Units | None]:
    text = name.strip().strip("\"'").lower().replace("−", "-")
    bracket = re.fullmatch(r"(.*?)\s*[(\[{]\s*(.*?)\s*[)\]}]\s*", text)
    if bracket:
        stem = re.sub(r"[\s\-.]+", "_", bracket[1]).strip("_")
        if stem in {"ln", "log", "log10", "log2"}:
            stem = f"{stem}_{bracket[2]}"
        return stem, parse_units(bracket[2])
    stem = re.sub(r"[\s.]+", "_", text).strip("_")
    parts = stem.split("_")
    for cut in range(1, len(parts)):
        units = parse_units("_".join(parts[cut:]))
        if units:
            return "_".join(parts[:cut]), units
    return stem, None


def choose_columns(names: list[str], preferred: Units | None) -> tuple[Column, Column, Column | None] | None:
    """The x, y and intensity columns among the names of a header, or None without an x and a y.

    A reciprocal vector is preferred to a pixel position, unless the user says `pixel`; integrated intensities to
    their logarithms, and both to the height of a peak.
    """
    described = (describe_column(name, i) for i, name in enumerate(names[:_MOST_COLUMNS]))
    columns = [c for c in described if c is not None]
    pairs = [
        (x, y)
        for x in columns
        for y in columns
        if x.role == "x" and y.role == "y" and x.reciprocal == y.reciprocal and x.units == y.units
    ]
    if not pairs:
        return None
    wants_pixel = preferred == "pixel"
    pairs.sort(key=lambda pair: (_is_pixel(pair[0]) != wants_pixel, pair[0].index, pair[1].index))
    intensities = sorted(
        (c for c in columns if c.role in _BEST_FIRST), key=lambda c: (_BEST_FIRST.index(c.role), c.index)
    )
    return (*pairs[0], intensities[0] if intensities else None)


def warn_of_unused(names: list[str], chosen: tuple[Column, Column, Column | None]) -> tuple[str, ...]:
    """What to say where no column of several is an intensity; nothing otherwise."""
    x, y, intensity = chosen
    others = [name.strip() for i, name in enumerate(names) if i not in {x.index, y.index} and name.strip()]
    if intensity is not None or not others:
        return ()
    return (
        "No column is named as an intensity, so the pattern is matched on its geometry alone; if one of "
        f"{', '.join(others)[:80]} is one, name it intensity.",
    )


def _is_pixel(column: Column) -> bool:
    return column.units == "pixel" or (column.units is None and not column.reciprocal)
