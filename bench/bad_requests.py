"""Random requests that must be rejected, as people, scripts and attackers send them."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

JSON = "application/json"
_BOUNDARY = "bad"
FORM = f"multipart/form-data; boundary={_BOUNDARY}"


@dataclass(frozen=True)
class BadRequest:
    """A request that must get a 4xx status."""

    path: str
    media_type: str
    body: bytes


Make = Callable[[np.random.Generator], BadRequest]


def _build_points(points: object, **options: object) -> BadRequest:
    return BadRequest("/predict", JSON, json.dumps({"points": points, **options}).encode())


def _file(data: bytes, path: str = "/predict", **fields: str) -> BadRequest:
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
    return BadRequest(path, FORM, b"".join([*parts, head, data, f"\r\n--{_BOUNDARY}--\r\n".encode()]))


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(30 * 2**20))
    return buffer.getvalue()


_BOMB = _zip_bomb()
_MANY = json.dumps({"points": [[0.1, 0.2, 1]] * 100_001}).encode()
_MAGIC = (
    b"II*\x00",
    b"\x00\x00\x00\x03",
    b"\x00\x00\x00\x04",
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY",
    b"MQ1,",
    b"\x02\x01BI",
    b"BM",
)

KINDS: tuple[Make, ...] = (
    lambda rng: BadRequest("/predict", JSON, rng.bytes(int(rng.integers(0, 400)))),
    lambda _: BadRequest("/predict", JSON, b'{"points": [[NaN, 1, 1], [Infinity, 2, 1], [1, 2, 3]]}'),
    lambda rng: BadRequest("/predict", JSON, b"[" * int(rng.integers(1, 5000))),
    lambda _: _build_points([]),
    lambda rng: _build_points([[0.1, 0.2, -float(rng.random())], [0.2, 0.1, 1], [0.3, 0.1, 1]]),
    lambda _: _build_points([["a", 1]]),
    lambda _: _build_points([[0.3, 0.1, 1]] * 5, effort="most"),
    lambda _: _build_points([[0.3, 0.1, 1], [0.1, 0.3, 1], [0.2, 0.2, 1]], elements_only=["Xx"]),
    lambda rng: _build_points(
        [[0.3, 0.1, 1], [0.1, 0.3, 1], [0.2, 0.2, 1]], top_k=int(rng.integers(101, 10**6))
    ),
    lambda _: BadRequest("/predict", "text/plain", b"hello"),
    lambda rng: BadRequest("/predict", FORM, rng.bytes(200)),
    lambda _: BadRequest("/nowhere", JSON, b"{}"),
    lambda _: BadRequest("/predict?top_k=3", JSON, b"{}"),
    lambda _: _file(b""),
    lambda rng: _file(rng.bytes(int(rng.integers(1, 5000)))),
    lambda rng: _file(_MAGIC[int(rng.integers(len(_MAGIC)))] + rng.bytes(int(rng.integers(0, 3000)))),
    lambda _: _file(_png(1, 1, b"\0\0\0")),
    lambda _: _file(_png(64, 64, bytes(129 * 64))),
    lambda _: _file(_png(60_000, 60_000, bytes(1000))),
    lambda rng: _file(b"P5 9 9 255 " + rng.bytes(81)),
    lambda _: _file(_BOMB),
    lambda _: _file(b"1 2 3", path="/inspect", center="a,b"),
    lambda _: _file(b"1 2 3\n2 1 3\n3 3 3", path="/compare"),
)
# These are expensive, so they are rare.
RARE: tuple[Make, ...] = (
    lambda _: BadRequest("/predict", JSON, _MANY),
    lambda _: _file(_png(4000, 4000, bytes(8001 * 4000))),
)


def draw_bad_request(rng: np.random.Generator) -> BadRequest:
    """Draw a bad request."""
    kinds = RARE if rng.random() < 0.002 else KINDS
    return kinds[int(rng.integers(len(kinds)))](rng)
