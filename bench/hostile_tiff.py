"""Hostile TIFFs of any size."""

import struct

import numpy as np

from bench.hostile_repeats import Make, Makers

SIDE = 64
_BLANK = bytes(SIDE * SIDE)
_TEXT = b"ImageJ=1.53\nunit=1/nm\n"
_TEXTS = (
    b" ", b"\n", b"\r\n", b"\t", b"\0", b"=", b"a=1\n", b"ImageJ=1\n", b"<", b"<a>", b"<ModeString>",
    b"<ModeString> ",
    b"<TemReporter ", b"{", b"[", b'{"shape": ', b'"', b"\\", b"9", b"-", b"a", b"&amp;", b"<?xml ",
    b"unit=1/nm\n",
    b"<OME ", b"Image Layer [", b"frames=1\n", b"[Device]\n", b"MetaMorph", b"SCANIMAGE.a = 1\n", b"]", b";",
)  # fmt: skip


def _tag(code: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", code, kind, count, value)


def _directory(tags: dict[int, tuple[int, int, int]], following: int = 0) -> bytes:
    entries = b"".join(_tag(code, *tag) for code, tag in sorted(tags.items()))
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def _describe_page(side: int, rows: int, at: int) -> dict[int, tuple[int, int, int]]:
    """Return the tags of an 8-bit page, whose pixels are at an offset."""
    tags = {256: side, 257: rows, 273: at, 278: rows, 279: side * rows}
    return {code: (4, 1, value) for code, value in tags.items()} | {
        code: (3, 1, value) for code, value in {258: 8, 259: 1, 262: 1, 277: 1}.items()
    }


def _tiff(
    more: dict[int, tuple[int, int, int]] | None = None, data: bytes = _BLANK, side: int = SIDE
) -> bytes:
    """Return a TIFF of one page; `data` begins at offset 8, its directory is last."""
    tags = _describe_page(side, side, at=8)
    tags = {**tags, **(more or {})}
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + _directory(tags)


def _describe(code: int, unit: bytes, before: bytes = b"") -> Make:
    def make(size: int) -> bytes:
        text = before + unit * (size // len(unit)) + b"a\0"
        return _tiff(more={code: (2, len(text), 8 + len(_BLANK))}, data=_BLANK + text)

    return make


def list_tiffs() -> Makers:
    for unit in _TEXTS:
        for before in (
            b"",
            _TEXT,
            b"<TemReporter><ModeString>",
            b"<TemReporter>",
            b'{"',
            b"<?xml version='1.0'?><OME>",
            b"SCANIMAGE.",
            b"1 (",
        ):
            yield f"description {before[:14]!r}{unit!r}", _describe(270, unit, before)
        for code in (
            305,
            306,
            315,
            700,
            34377,
            34412,
            34665,
            33432,
            50838,
            50839,
            65003,
            65009,
            282,
            65426,
            51023,
            37706,
            34118,
            43314,
        ):
            yield f"tag {code} of {unit!r}", _describe(code, unit)
    yield "directories", lambda size: _make_directories(size // 6, tags=0)
    yield "directories of a page", lambda size: _make_directories(size // 114, tags=9)
    yield "directories in a circle", lambda size: _make_directories(size // 6, tags=0, cyclic=True)
    yield (
        "tags",
        lambda size: _tiff(more={1000 + n % 60000: (4, 1, n) for n in range(min(size // 12, 60000))}),
    )
    yield "equal tags", _make_equal_tags
    for code in (
        258,
        273,
        279,
        282,
        320,
        330,
        338,
        339,
        33628,
        33629,
        50838,
        34665,
        65009,
        65003,
        322,
        324,
        325,
        51123,
    ):
        for kind in (1, 3, 4, 5, 12):
            yield f"values of tag {code}, type {kind}", _make_values(code, kind)
    yield "strips", _make_strips


def _make_values(code: int, kind: int) -> Make:
    width = {1: 1, 3: 2, 4: 4, 5: 8, 12: 8}[kind]
    return lambda size: _tiff(
        more={code: (kind, size // width, 8 + len(_BLANK))}, data=_BLANK + (b"\1\0\0\0" * (size // 4 + 2))
    )


def _make_strips(size: int) -> bytes:
    count = size // 8
    offsets, counts = np.full(count, 8, "<u4").tobytes(), np.full(count, SIDE, "<u4").tobytes()
    at = 8 + len(_BLANK)
    more = {257: (4, 1, count), 278: (4, 1, 1), 273: (4, count, at), 279: (4, count, at + len(offsets))}
    return _tiff(more=more, data=_BLANK + offsets + counts)


def _make_equal_tags(size: int) -> bytes:
    count = min(size // 12, 65535)
    return b"II*\0" + struct.pack("<IH", 8, count) + _tag(256, 4, 1, SIDE) * count + bytes(4)


def _make_directories(count: int, tags: int, *, cyclic: bool = False) -> bytes:
    page = _describe_page(SIDE, SIDE, at=8) if tags else {}
    size, first = 6 + 12 * len(page), 8 + len(_BLANK)
    body = b"".join(_directory(page, first + size * (n + 1)) for n in range(count - 1))
    return b"II*\0" + struct.pack("<I", first) + _BLANK + body + _directory(page, first if cyclic else 0)
