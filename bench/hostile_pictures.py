"""Hostile PNG, JPEG and BMP pictures of any size."""

import io
import struct
import zlib
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from bench.hostile_repeats import Makers, repeat

SIDE = 64


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    *more: bytes, side: int = SIDE, color: int = 0, depth: int = 8, content: bytes | None = None
) -> bytes:
    """Return a PNG with further chunks before its pixels."""
    rows = zlib.compress(bytes(side * (1 + side * depth // 8))) if content is None else content
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def list_pngs() -> Makers:
    usual, bomb = png(), zlib.compress(bytes(10**6), 9)
    for kind, data in (
        (b"tEXt", b"a\0b"), (b"zTXt", b"a\0\0" + zlib.compress(b"b")), (b"zTXt", b"a\0\0" + bomb),
        (b"iTXt", b"a\0\0\0\0\0b"),
        (b"iTXt", b"a\0\1\0\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"iCCP", b"a\0\0"),
        (b"tRNS", b"\0\0"), (b"PLTE", bytes(768)),
        (b"eXIf", b"II*\0\x08\0\0\0"), (b"pHYs", bytes(9)), (b"gAMA", bytes(4)), (b"sRGB", b"\0"),
        (b"acTL", b"\0\0\0\1\0\0\0\0"),
        (b"fcTL", bytes(26)), (b"fdAT", bytes(4)), (b"prVt", b""), (b"IDAT", b""), (b"abcd", b""),
    ):  # fmt: skip
        piece = _chunk(kind, data)
        yield (
            f"{kind.decode()} of {len(data)} bytes",
            repeat(piece, usual[:33], usual[33:]),
        )
        yield (
            f"{kind.decode()} of {len(data)} bytes at the end",
            repeat(piece, usual[:-12], usual[-12:]),
        )
    for kind, before in (
        (b"tEXt", b"a\0"),
        (b"iTXt", b"a\0\0\0\0\0"),
        (b"eXIf", b"II*\0\x08\0\0\0"),
        (b"iCCP", b"a\0\0"),
        (b"tEXt", b"Software\0"),
    ):
        for unit in (b" ", b"\0", b"\n", b"\xff\xff", b"\1\0"):
            yield f"one {kind.decode()} of {unit!r}", partial(_make_png_of_one_chunk, kind, before, unit)
    yield "data in pieces", _make_png_in_pieces
    yield "palette", lambda size: png(_chunk(b"PLTE", bytes(size // 3 * 3)), color=3)


def _make_png_of_one_chunk(kind: bytes, before: bytes, unit: bytes, size: int) -> bytes:
    return png(_chunk(kind, before + unit * (size // len(unit))))


def _make_png_in_pieces(size: int) -> bytes:
    side = max(int(size**0.5), 32)
    packer = zlib.compressobj(0)
    content = packer.compress(np.random.default_rng(0).bytes(side * (side + 1))) + packer.flush()
    pieces = b"".join(_chunk(b"IDAT", content[n : n + 1]) for n in range(min(len(content), size // 13)))
    return png(side=side)[:33] + pieces + _chunk(b"IEND", b"")


def _jpeg(**options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (SIDE, SIDE)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def list_jpegs() -> Makers:
    usual = _jpeg()
    for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4, 0xDD, 0xC0, 0xFF, 0xD0, 0x01):
        for data in (
            b"",
            b"Exif\0\0II*\0\x08\0\0\0\0\0",
            b"ICC_PROFILE\0\1\1",
            b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0",
            b"MPF\0II*\0\x08\0\0\0\0\0",
            b"JFIF\0\1\1\1\0\1\0\1\0\0",
            bytes(65),
        ):
            piece = bytes([0xFF, marker]) + (
                struct.pack(">H", len(data) + 2) + data if marker not in (0xFF, 0xD0, 0x01) else b""
            )
            yield f"marker {marker:02x} of {data[:6]!r}", repeat(piece, usual[:2], usual[2:])
    for unit in (b"8BIM\x04\x04\0\0\0\0\0\0", b"8BIM\x03\xed\0\0\0\0\0\x10" + bytes(16), b"8BIM"):
        body = b"Photoshop 3.0\0" + unit * (60000 // len(unit))
        piece = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
        yield f"resources {unit!r}", repeat(piece, usual[:2], usual[2:])
    yield "ends of lines after the image", repeat(b"\n", usual)
    yield "padding inside", repeat(b"\xff", usual[:-2], usual[-2:])
    yield "restarts", repeat(b"\xff\xd0", usual[:-2], usual[-2:])


def list_bmps() -> Makers:
    gray = bytes(value for level in range(256) for value in (level, level, level, 0))

    def head(compression: int, side: int = 256) -> bytes:
        info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, compression, 0, 1, 1, 256, 0)
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + info + gray

    for unit in (b"\1\0", b"\0\0", b"\0\2\0\0", b"\0\2\xff\xff", b"\0\3abc\0", b"\xff\1", b"\0\1"):
        for side in (256, 8192):
            yield (
                f"runs {unit!r} of side {side}",
                repeat(unit, head(1, side)),
            )
    yield "fields", lambda size: head(3) + bytes(size)
