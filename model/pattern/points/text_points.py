"""Point clouds as text: CSV, TSV, semicolons or whitespace, with or without a header."""

import re

import numpy as np

from model.errors import NoSpotsError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.options import Units
from model.pattern.points.columns import Column, choose_columns, warn_of_unused
from model.pattern.points.point_table import MAX_POINTS, PointTable, check_count, intensity_from_logarithm

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_COMMENT = ("#", "//", "%", "!")
# Instruments write some dozens of lines before a table; a book is none.
_LONGEST_PREAMBLE = 500

Row = tuple[int, list[str]]
"""Line number and cells."""


def read_point_text(text: str, preferred_units: Units | None = None) -> PointTable:
    """Read rows of numbers; a header, also one in a comment, tells the order of the columns.

    Without a header the columns are x, y and, where there is a third, intensity.

    Raises:
        UnknownFormatError: text that is no table of numbers.
        UnreadableError: a row that is cut short or holds something else than numbers.
        NoSpotsError: a header without rows.
    """
    header, rows = _split_header(text)
    if not rows:
        if header and choose_columns(header, preferred_units):
            raise NoSpotsError("the table has a header but no points")
        raise UnknownFormatError(
            "the text holds no table of numbers; give a row x, y, intensity for each spot"
        )
    check_count(len(rows))
    if choose_columns(header, preferred_units):
        header = _aligned(header, rows)
    chosen = _columns_of(header, rows[0][1], preferred_units)
    used = [column for column in chosen if column is not None]
    values = np.array([_numbers(line, cells, used) for line, cells in rows])
    x, y, intensity = chosen
    strength = None
    if intensity is not None:
        strength = values[:, 2]
        if intensity.role == "log_intensity":
            strength = intensity_from_logarithm(strength, intensity.log_base)
    unused = warn_of_unused(header, chosen)
    return PointTable(values[:, :2], strength, units=x.units or y.units, warnings=unused)


def _columns_of(
    header: list[str], cells: list[str], preferred: Units | None
) -> tuple[Column, Column, Column | None]:
    chosen = choose_columns(header, preferred) if header else None
    if chosen:
        return chosen
    if header and not all(re.fullmatch(r"(column|col|field|unnamed:?)?[ _]*\d*", h.lower()) for h in header):
        raise UnreadableError(
            f"the header ({', '.join(header)[:80]}) names no x and y columns; name them x and y (or qx and "
            "qy), and the third intensity"
        )
    indent = 1 if len(cells) > 1 and not cells[0] else 0
    width = len(cells) - indent
    if width < 2:
        raise UnknownFormatError("the table has one column; at least x and y are needed")
    intensity = Column(indent + 2, "intensity") if width > 2 else None
    return Column(indent, "x"), Column(indent + 1, "y"), intensity


def _aligned(header: list[str], rows: list[Row]) -> list[str]:
    """The header with one name for each column; R leaves out that of the first, which counts the rows."""
    names = list(header)
    while not names[-1]:
        names.pop()
    wrong = next((row for row in rows if not _fits(row[1], len(names))), None)
    if wrong is None:
        return names
    first = [cells[0] for _, cells in rows]
    counts = any(first == [str(n) for n in range(start, start + len(rows))] for start in (0, 1))
    if all(_fits(cells, len(names) + 1) for _, cells in rows) and (counts or not any(first)):
        return ["", *names]
    line, cells = wrong
    raise UnreadableError(
        f"the header names {len(names)} columns ({', '.join(names)[:80]}) but line {line} has {len(cells)}; "
        "give every column one name and every row all its columns"
    )


def _fits(cells: list[str], width: int) -> bool:
    return len(cells) >= width and not any(cells[width:])


def _split_header(text: str) -> tuple[list[str], list[Row]]:
    header: list[str] = []
    rows: list[Row] = []
    separator: str | None = None
    preamble = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        comment = line.startswith(_COMMENT)
        line = line.lstrip("#/%!").strip() if comment else line
        if not line or (comment and rows):
            continue
        if not rows:
            separator = _separator(line)
        # A tab at the beginning is kept: the first column may have no name.
        line = line if comment or separator != "\t" else raw
        cells = _with_decimal_points(number, _cells(line, separator))
        if not rows and not _is_number(cells[0] or cells[-1]):
            names = _cells(_join_words(line) if separator is None else line, separator)
            if not comment or choose_columns(names, None):
                header = names
            preamble += 1
            if preamble > _LONGEST_PREAMBLE:
                raise UnknownFormatError(
                    f"the text holds no table of numbers in its first {number} lines; give a row x, y, intensity for "
                    "each spot"
                )
            continue
        if not comment:
            rows.append((number, cells))
            if len(rows) > MAX_POINTS:
                raise TooLargeError(f"more than {MAX_POINTS} points; give the spots rather than all pixels")
    return header, rows


def _separator(line: str) -> str | None:
    words = line.split()
    if len(words) > 1 and all(_is_number(word) or _has_decimal_comma(word) for word in words):
        return "\t" if "\t" in line else None
    return next((mark for mark in "\t;," if mark in line), None)


def _has_decimal_comma(word: str) -> bool:
    """Whether a comma stands inside a number; one at its beginning or end parts it from the next."""
    return word[0] != "," and bool(_DECIMAL_COMMA.fullmatch(word))


def _cells(line: str, separator: str | None) -> list[str]:
    return [cell.strip().strip("\"'") for cell in line.split(separator)]


def _with_decimal_points(line: int, cells: list[str]) -> list[str]:
    """Decimal commas as points; a row with both could mean thousands by one of them."""
    commas = [cell for cell in cells if "," in cell and _DECIMAL_COMMA.fullmatch(cell)]
    if not commas:
        return cells
    points = [cell for cell in cells if "." in cell and _is_number(cell)]
    if points:
        raise UnreadableError(
            f"line {line} has a comma in {commas[0]} and a point in {points[0]}; write all numbers with decimal points"
        )
    return [cell.replace(",", ".") if cell in commas else cell for cell in cells]


def _join_words(line: str) -> str:
    """`qx (1/nm)  log intensity` as one word a column."""
    line = re.sub(r" ([(\[])", r"\1", " ".join(line.split()))
    return re.sub(r"\b(ln|log|log10|log2|integrated|peak) (?=i)", r"\1_", line, flags=re.IGNORECASE)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(line: int, cells: list[str], used: list[Column]) -> list[float]:
    if len(cells) <= max(column.index for column in used):
        raise UnreadableError(f"line {line} has {len(cells)} columns, fewer than the lines before")
    try:
        return [float(cells[column.index] or "nan") for column in used]
    except ValueError:
        raise UnreadableError(
            f"line {line} holds something that is not a number: {' '.join(cells)[:60]}"
        ) from None
