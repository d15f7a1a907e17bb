"""Points as text: columns separated by commas, tabs, semicolons or spaces, with or without a header."""

import re

import numpy as np

from model.errors import NoSpotsError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.points.columns import Column, choose_columns, warn_of_unused
from model.pattern.points.point_table import (
    MAX_POINTS,
    PointTable,
    check_point_count,
    exponentiate_intensity,
)
from model.pattern.scale import Units

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_COMMENT = ("#", "//", "%", "!")
# Instruments write some dozens of lines before a table.
_MAX_PREAMBLE_LINES = 500
MAX_LINE_LENGTH = 2**16

Row = tuple[int, list[str]]
"""Line number and cells."""


def read_point_text(text: str, preferred_units: Units | None = None) -> PointTable:
    """Read rows of numbers. A header, which may be a comment, gives the order of the columns.

    Without a header the columns are x, y and, where there is a third, intensity.

    Raises:
        UnknownFormatError: The text is not a table of numbers.
        UnreadableError: A row is cut short or contains something other than numbers.
        TooLargeError: There are more points than the limit, or a line is too long.
        NoSpotsError: The table has a header but no rows.
    """
    header, rows = _split_header(text)
    if not rows:
        if header and choose_columns(header, preferred_units):
            raise NoSpotsError("The table has a header but no points; add a row for each spot.")
        raise UnknownFormatError(
            "The text contains no table of numbers; give one row, x, y, intensity, per spot."
        )
    check_point_count(len(rows))
    if choose_columns(header, preferred_units):
        header = _align_header(header, rows)
    chosen = _choose_columns_or_order(header, rows[0][1], preferred_units)
    used = [column for column in chosen if column is not None]
    values = np.array([_parse_row(line, cells, used) for line, cells in rows])
    x, y, intensity = chosen
    intensities = None
    if intensity is not None:
        intensities = values[:, 2]
        if intensity.role == "log_intensity":
            intensities = exponentiate_intensity(intensities, intensity.log_base)
    warnings = warn_of_unused(header, chosen)
    return PointTable(values[:, :2], intensities, units=x.units or y.units, warnings=warnings)


def _choose_columns_or_order(
    header: list[str], cells: list[str], preferred: Units | None
) -> tuple[Column, Column, Column | None]:
    """Choose the columns by their names or, where the header has no names, by their order."""
    chosen = choose_columns(header, preferred) if header else None
    if chosen:
        return chosen
    if header and not all(re.fullmatch(r"(column|col|field|unnamed:?)?[ _]*\d*", h.lower()) for h in header):
        raise UnreadableError(
            f"The header ({', '.join(header)[:80]}) names no x and y columns; name them x and y (or qx and qy), and "
            "the third intensity."
        )
    indent = 1 if len(cells) > 1 and not cells[0] else 0
    width = len(cells) - indent
    if width < 2:
        raise UnknownFormatError("The table has one column; at least x and y are needed.")
    intensity = Column(indent + 2, "intensity") if width > 2 else None
    return Column(indent, "x"), Column(indent + 1, "y"), intensity


def _align_header(header: list[str], rows: list[Row]) -> list[str]:
    """Return a header with one name for each column: R gives no name to its first column, which numbers the rows."""
    names = list(header)
    while not names[-1]:
        names.pop()
    wrong = next((row for row in rows if not _fits(row[1], len(names))), None)
    if wrong is None:
        return names
    first = [cells[0] for _, cells in rows]
    numbers_rows = any(first == [str(n) for n in range(start, start + len(rows))] for start in (0, 1))
    if all(_fits(cells, len(names) + 1) for _, cells in rows) and (numbers_rows or not any(first)):
        return ["", *names]
    line, cells = wrong
    raise UnreadableError(
        f"The header names {len(names)} columns ({', '.join(names)[:80]}) but line {line} has {len(cells)}; give "
        "every column one name and every row one value per column."
    )


def _fits(cells: list[str], width: int) -> bool:
    return len(cells) >= width and not any(cells[width:])


def _split_header(text: str) -> tuple[list[str], list[Row]]:
    """Return the names of the header, empty if there is none, and the rows."""
    header: list[str] = []
    rows: list[Row] = []
    separator: str | None = None
    preamble_lines = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        if len(raw) > MAX_LINE_LENGTH:
            raise TooLargeError(
                f"Line {number} has more than {MAX_LINE_LENGTH} characters, the maximum; give one row, x, y, "
                "intensity, per spot."
            )
        line = raw.strip()
        is_comment = line.startswith(_COMMENT)
        line = line.lstrip("#/%!").strip() if is_comment else line
        if not line or (is_comment and rows):
            continue
        if not rows:
            separator = _find_separator(line)
        # A tab at the beginning is kept because the first column may have no name.
        line = line if is_comment or separator != "\t" else raw
        cells = _use_decimal_points(number, _split_cells(line, separator))
        if not rows and not _is_number(cells[0] or cells[-1]):
            names = _split_cells(_join_words(line) if separator is None else line, separator)
            if not is_comment or choose_columns(names, None):
                header = names
            preamble_lines += 1
            if preamble_lines > _MAX_PREAMBLE_LINES:
                raise UnknownFormatError(
                    f"The text contains no table of numbers in its first {number} lines; give one row, x, y, "
                    "intensity, per spot."
                )
            continue
        if not is_comment:
            rows.append((number, cells))
            if len(rows) > MAX_POINTS:
                raise TooLargeError(
                    f"There are more than {MAX_POINTS} points, the maximum; give the spots "
                    "instead of all pixels."
                )
    return header, rows


def _find_separator(line: str) -> str | None:
    words = line.split()
    if len(words) > 1 and all(_is_number(word) or _has_decimal_comma(word) for word in words):
        return "\t" if "\t" in line else None
    return next((mark for mark in "\t;," if mark in line), None)


def _has_decimal_comma(word: str) -> bool:
    """Return whether a comma is inside a number; one at the beginning or end separates numbers."""
    return word[0] != "," and bool(_DECIMAL_COMMA.fullmatch(word))


def _split_cells(line: str, separator: str | None) -> list[str]:
    return [cell.strip().strip("\"'") for cell in line.split(separator)]


def _use_decimal_points(line: int, cells: list[str]) -> list[str]:
    """Replace decimal commas by points; refuse a row with both, where one could separate thousands."""
    commas = {cell: None for cell in cells if "," in cell and _DECIMAL_COMMA.fullmatch(cell)}
    if not commas:
        return cells
    points = [cell for cell in cells if "." in cell and _is_number(cell)]
    if points:
        raise UnreadableError(
            f"Line {line} has a comma in {next(iter(commas))[:40]} and a point in {points[0][:40]}; write all numbers "
            "with decimal points."
        )
    return [cell.replace(",", ".") if cell in commas else cell for cell in cells]


def _join_words(line: str) -> str:
    """Write `qx (1/nm)  log intensity` with one word for each column."""
    line = re.sub(r" ([(\[])", r"\1", " ".join(line.split()))
    return re.sub(r"\b(ln|log|log10|log2|integrated|peak) (?=i)", r"\1_", line, flags=re.IGNORECASE)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse_row(line: int, cells: list[str], used: list[Column]) -> list[float]:
    if len(cells) <= max(column.index for column in used):
        raise UnreadableError(
            f"Line {line} has {len(cells)} columns, fewer than the lines above; give every row the "
            "same number of columns."
        )
    try:
        return [float(cells[column.index] or "nan") for column in used]
    except ValueError:
        raise UnreadableError(
            f"Line {line} contains something that is not a number: {' '.join(cells)[:60]}."
        ) from None
