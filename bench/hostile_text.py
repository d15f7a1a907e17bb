"""Hostile tables, JSON, options and forms, of any size."""

import json
from collections.abc import Callable
from functools import partial

from bench.hostile_repeats import Make, Makers, repeat

# What parsers split, strip, match or nest by; each is repeated in one line and in many.
_SEPARATORS = (
    ",", ";", "\t", " ", "\v", "\f", "\r", "\n", "\r\n", "\u2028", "\xa0", ".", "-", "\u2212", "+", "_",
    "#", "//", "%",
    "!", '"', "'", "(", ")", "[", "{", "/", "\\", "\ufeff", "e", "\u00e9", "\U0001f600",
)  # fmt: skip
_WORDS = (
    "1,", "1;", "1\t", "1 ", "1,5;", "1,5;2,5;", "1,5 ", "1,5\t", "1.5;1,5;", ",5;", "1e9,", "1e-9 ",
    "-1,", "nan,", "inf ",
    "x,", "x y ", "qx (1/nm), ", "qx_nm-1,", "x_", "log ", "log_", "log10(", "ln i ", "intensity,",
    "mean_", "1/nm ", "nm_", "#a,b ",
    '"x",', "( ", " (", "column 1,", "unnamed: 0,",
)  # fmt: skip
_LINES = (
    "", " ", "#", "# a", "#x,y,i", "//", "% 1,2", "a", "a,b", "x,y,i", "x y", "1", "1,", "1,2", "1,2,3",
    "1 2 3", "1,5;2,5", "1;2;3",
    "1\t2\t3", "\t1\t2", "1,2,", "1e999,1,1", "nan,1,1", '"1","2","3"', "log (i),x,y",
)  # fmt: skip
_POINTS = "0.4,0,1\n-0.4,0,1\n0.2,0.35,1\n"


def _repeat(unit: str, before: str = "", after: str = "") -> Make:
    return repeat(unit.encode(), before.encode(), after.encode())


def list_tables() -> Makers:
    """Yield names and makers of texts that claim to be tables of points."""
    for unit in (*_SEPARATORS, *_WORDS):
        yield f"one line of {unit!a}", _repeat(unit)
        yield f"one line of {unit!a} and a letter", _repeat(unit, after="a")
        yield f"one line of a letter and {unit!a}", _repeat(unit, before="a", after="a")
        yield f"header of {unit!a}", _repeat(unit, after="\n" + _POINTS)
        yield f"comment of {unit!a}", _repeat(unit, before="# ", after="\n" + _POINTS)
        yield f"cell of {unit!a}", _repeat(unit, before="x,y,i\n1,2,", after="\n" + _POINTS)
        yield f"column name of {unit!a}", _repeat(unit, before="x,y,i,", after="\n" + _POINTS)
    for line in _LINES:
        yield f"lines {line!a}", _repeat(line + "\n")
        yield f"lines {line!a} after points", _repeat(line + "\n", before="x,y,i\n" + _POINTS)
        yield f"indented lines {line!a}", _repeat(" " * 200 + line + "\n", before=_POINTS)
    for number in ("1" * 40, "0." + "0" * 40, "1e" + "9" * 40):
        yield f"numbers {number[:4]}...", _repeat(f"{number},{number},1\n")
    yield "a long integer", _repeat("1", "x,y,i\n", ",1,1\n" + _POINTS)
    yield "a long fraction", _repeat("0", "x,y,i\n0.", "1,1,1\n" + _POINTS)
    yield "a long exponent", _repeat("9", "x,y,i\n1e", ",1,1\n" + _POINTS)
    yield (
        "500 long comments",
        lambda size: b"".join(b"#" + b"a " * (size // 1000) + b"\n" for _ in range(500)),
    )
    yield "500 long headers", lambda size: b"".join(b"x,y," * (size // 2000) + b"\n" for _ in range(500))
    yield (
        "500 long comments of columns",
        lambda size: b"".join(b"#" + b"x,y," * (size // 2000) + b"\n" for _ in range(500)),
    )
    for unit in (*_SEPARATORS, *_WORDS):
        yield f"columns of {unit!a}", _repeat((unit * 99)[:99] + ";")
        yield f"comments of {unit!a}", _repeat("#" + (unit * 99)[:99] + ";\n")
    for cell in ("{},5;", "{} ", "{},5 ", "{}.5;", "x{},", "{};", "-{},5\t"):
        yield f"one line of different cells {cell}", partial(_number, cell)
        yield (
            f"header and different cells {cell}",
            partial(_number, cell, before="x,y,i\n", after="\n1,2,3"),
        )
    yield "many columns and rows", _make_wide_table
    yield "points in pixels", lambda size: _make_grid(size, "x_px,y_px,i\n")
    yield "points", lambda size: _make_grid(size, "")


def _make_wide_table(size: int) -> bytes:
    columns = max(int((size / 2) ** 0.5), 2)
    return b"\n".join([b"x,y," + b"1," * columns] + [b"1," * columns] * columns)


def _make_grid(size: int, header: str) -> bytes:
    count = max(size // 24, 3)
    side = int(count**0.5) + 1
    rows = (
        f"{0.5 * (n % side - side / 2) / side:.6f},{0.5 * (n // side - side / 2) / side:.6f},1"
        for n in range(count)
    )
    return (header + "\n".join(rows)).encode()


def list_point_json() -> Makers:
    """Yield names and makers of JSON files of points."""
    for unit in (
        "[",
        '{"a":',
        '{"points":[',
        "[[",
        "[],",
        "{},",
        "[1,2,3],",
        '{"x":1},',
        "1,",
        '"a",',
        "null,",
    ):
        yield f"{unit} repeated", _repeat(unit, "[" if unit.endswith(",") else "")
        yield f"{unit} in points", _repeat(unit, '{"points": [')
    for text in ('\\"', "\\u0000", "\\ud800", " ", "a", "\u00e9", "1/nm ", "_", "\\u207b\\u00b9"):
        yield f"units of {text!a}", _repeat(text, '{"points": [[1,0,1],[0,1,1],[-1,0,1]], "units": "', '"}')
        yield f"a key of {text!a}", _repeat(text, '{"points": [[1,0,1],[0,1,1],[-1,0,1]], "', '": 1}')
    for digits in ("1", "0", "9"):
        for before, after in (("", ""), ("0.", "1"), ("1e", ""), ("-", ""), ("1.", "e5")):
            yield (
                f"the number {before}{digits}...{after}",
                _repeat(digits, '{"points": [[' + before, after + ",1,1]]}"),
            )
    yield "long integers", _repeat("9" * 4000 + ",", '{"points": [[', "1]]}")
    yield "points of long integers", _repeat(f"[{'9' * 4000},1,1],", '{"points": [', "[1,2,3]]}")
    yield "many keys", lambda size: _make_object(size, lambda n: f'"key{n}":1')
    yield "one key many times", _repeat('"a":1,', "{", '"points":[]}')
    yield "many columns", lambda size: _make_object(size, lambda n: f'"c{n}":[1]')
    yield "columns named x", lambda size: _make_object(size, lambda n: f'"x{" " * (n % 90)}":[{n}]')
    yield (
        "records with a key of their own",
        lambda size: _make_list(size, lambda n: f'{{"x":1,"y":2,"k{n}":3}}'),
    )
    yield "records of many keys", _make_wide_records
    yield (
        "points in pixels",
        lambda size: _make_list(size, lambda n: f"[{n % 317},{n // 317},1]", ',"units":"pixel"'),
    )
    yield "equal points", lambda size: _make_list(size, lambda _: "[0.5,0.5,1]")
    yield (
        "published rows",
        lambda size: b'{"X": [' + b",".join([b"[" + b"1," * (size // 6) + b"1]"] * 3) + b"]}",
    )


def _make_object(size: int, item: Callable[[int], str]) -> bytes:
    return ("{" + ",".join(item(n) for n in range(max(size // len(item(1000)), 1))) + "}").encode()


def _make_list(size: int, item: Callable[[int], str], after: str = "") -> bytes:
    items = ",".join(item(n) for n in range(max(size // len(item(1000)), 1)))
    return f'{{"points": [{items}]{after}}}'.encode()


def _make_wide_records(size: int) -> bytes:
    side = max(int((size / 8) ** 0.5), 1)
    record = {"x": 1, "y": 2, **{f"k{n}": 1 for n in range(side)}}
    return json.dumps([record] * side, separators=(",", ":")).encode()


def list_requests() -> Makers:
    """Yield names and makers of JSON requests whose options or keys are hostile."""
    lists = (
        "elements_all",
        "elements_only",
        "mask",
        "measure",
        "lattice",
        "center",
        "composition",
        "frame",
        "points",
    )
    for name in lists:
        for unit in ("[],", "1,", '"Mo",', "[1,2],", "[0,0,1,1],", "{},", "null,", "[[],[],[]],"):
            yield f"{name} of {unit}", _repeat(unit, f'{{"points": [[1,0],[0,1],[1,1]], "{name}": [', "1]}")
    for name in ("units", "calibration", "effort", "radiation", "frame", "voltage_kv", "composition"):
        for unit in ("a", " ", "\\ud800", "1", "../"):
            yield f"{name} of {unit}", _repeat(unit, f'{{"points": [[1,0],[0,1],[1,1]], "{name}": "', '"}')
    yield "a composition of many", lambda size: _nest('"composition"', size, lambda n: f'"e{n}":1')
    yield "a composition of nothing", lambda size: _nest('"composition"', size, lambda n: f'"e{n}":null')
    yield "the keys", lambda size: _make_object(size, lambda n: f'"key{n}":1')
    yield "a long number", _repeat("1", '{"points": [[1,0],[0,1],[1,1]], "pixel_size": ', "}")


def _nest(key: str, size: int, item: Callable[[int], str]) -> bytes:
    return b'{"points": [[1,0],[0,1],[1,1]], ' + key.encode() + b":" + _make_object(size, item) + b"}"


def list_answers() -> Makers:
    """Yield names and makers of stored answers for `/replay`."""
    for unit in ("{}", "[]", "1", '"a"', "null", '{"id":1}', '{"match":{"reflections":[{}]}}'):
        for key in ("candidates", "warnings", "query", "pattern", "facts"):
            yield f"{key} of {unit}", _repeat(unit + ",", f'{{"answer": {{"{key}": [', unit + "]}}")
            inner = f'{{"answer": {{"{key}": {{"points": [', unit + "]}}}"
            yield f"{key}.points of {unit}", _repeat(unit + ",", *inner)
    yield (
        "the options of many keys",
        lambda size: (
            b'{"answer": {"query": {"options": ' + _make_object(size, lambda n: f'"k{n}":1') + b"}}}"
        ),
    )
    yield "many keys", lambda size: b'{"answer": ' + _make_object(size, lambda n: f'"k{n}":1') + b"}"
    yield "deep", lambda size: b'{"answer": ' + b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6) + b"}"


FORM = "multipart/form-data; boundary=x"


def list_forms() -> Makers:
    """Yield names and makers of multipart forms."""
    part = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    upload = '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    yield "fields", _repeat(part, after="--x--\r\n")
    yield "files", _repeat(part.replace('"a"', '"file"; filename="a"'), after="--x--\r\n")
    for unit in ("\r\n", "\r", "\n", "-", "\r\n-", "\r\n--", "\r\n--y", "x", "\0"):
        yield f"a file of {unit!a}", _repeat(unit, upload, "\r\n--x--\r\n")
    for unit in ("a", ";", ' ;a="b"', '"', "\\", ":", "\r\n ", "%41", " ", "=?utf-8?q?a?=", "'"):
        yield (
            f"a header of {unit!a}",
            _repeat(unit, '--x\r\nContent-Disposition: form-data; name="file', "\r\n\r\n1\r\n--x--\r\n"),
        )
        yield f"a file name of {unit!a}", _repeat(unit, upload[:-5], '"\r\n\r\n1\r\n--x--\r\n')
    yield (
        "headers",
        _repeat("A: b\r\n", "--x\r\n", 'Content-Disposition: form-data; name="file"\r\n\r\n1\r\n--x--\r\n'),
    )
    yield "a preamble", _repeat("-", after="\r\n" + upload + "1\r\n--x--\r\n")
    yield "an epilogue", _repeat("-", upload + "1\r\n--x--\r\n")


def list_options() -> Makers:
    """Yield names and makers of values of options in forms, as lines of name and value."""
    units = (
        ",",
        ";",
        "1,",
        "1;",
        "1,1;",
        "Mo,",
        "Mo:1,",
        ":",
        "-",
        " ",
        "1",
        "9",
        "e",
        "\u00e9",
        "0x",
        "_1",
        "+",
        ".",
    )
    for name in (
        "mask",
        "elements_all",
        "composition",
        "center",
        "lattice",
        "pixel_size",
        "frame",
        "calibration",
        "top_k",
    ):
        for unit in units:
            yield f"{name} of {unit!a}", _repeat(unit, f"{name}=1")
    yield "many masks", _repeat("mask=1,1,1,1;\n")
    yield "many elements", _repeat("elements_all=Mo,S\n")
    yield "unknown options", lambda size: b"\n".join(b"k%d=1" % n for n in range(size // 8))


def _number(cell: str, size: int, before: str = "", after: str = "") -> bytes:
    cells = "".join(cell.format(number) for number in range(size // len(cell.format(10_000))))
    return f"{before}{cells}{after}".encode()
