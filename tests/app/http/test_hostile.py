"""Hostile uploads are refused with a 4xx that says what to do, by the whole application with its real readers.

The memory of each request is measured, which reveals a limit that is checked only after decoding.
"""

import io
import json
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from tests.app.answers import problem_of
from tests.app.conftest import client_with_key
from tests.app.stand_in import StandIn

MAX_BYTES = 200 * 2**20
# Traces of paths, tracebacks, packages and Python objects.
LEAK = re.compile(
    r"/work|/home|/tmp|/usr|site-packages|\.py\b|File \"|Traceback|line \d+, in|0x[0-9a-f]{6}|<[\w.]+ object"
)
# Words of a sentence that says what to do.
ADVICE = re.compile(
    r"\b(send|upload (a|one|the)|give|save|export|copy|bin|unpack|correct|set|at least|at most|needs|should be"
    r"|the options are)\b",
    re.IGNORECASE,
)

HUGE_ARRAY = "{'descr': '<u2', 'fortran_order': False, 'shape': (90000, 90000), }"
RING = [[1, 0, 1], [0, 1, 1], [-1, 0, 1], [0, -1, 1]]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, content: bytes, *more: bytes, depth: int = 16, color: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), *more, chunk(b"IDAT", content), chunk(b"IEND", b"")]
    )


def zeros(size: int) -> bytes:
    """Return `size` zeros, deflated as one repeated block; `size` is a multiple of one mebibyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    sums = (size % 65521) << 16 | 1
    return b"\x78\xda" + block * (size // 2**20) + b"\x03\0" + struct.pack(">I", sums)


def test_the_deflated_zeros_are_correct() -> None:
    assert zlib.decompress(zeros(3 * 2**20)) == bytes(3 * 2**20)


def tiff(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def tiff_that_claims(side: int) -> bytes:
    """Return a TIFF of 64 x 64 pixels whose tags claim that it is larger."""
    data = tiff(np.zeros((64, 64), np.uint16))
    for tag in (256, 257):
        data = replace_tag(data, tag, side)
    return data


def replace_tag(data: bytes, tag: int, value: int) -> bytes:
    """Replace the number in a tag of a TIFF."""
    at = max(data.find(struct.pack("<HHI", tag, kind, 1)) for kind in (3, 4))
    assert at > 0
    return data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]


def hdf5_that_claims(side: int) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("data", (side, side), "u2", chunks=(min(side, 4096),) * 2, compression="gzip")
    return buffer.getvalue()


def npz_bomb() -> bytes:
    buffer = io.BytesIO()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<u2", "fortran_order": False, "shape": (60_000, 60_000)}
    )
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(header.getvalue())
        for _ in range(200):
            file.write(bytes(2**20))
    return buffer.getvalue()


def picture(array: np.ndarray[Any, Any], form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def nested_boxes(depth: int) -> bytes:
    return b'{"points": ' + b"[" * depth + b"]" * depth + b"}"


def tiff_of_one_tile(side: int) -> bytes:
    """Return a compressed TIFF of 64 x 64 pixels whose only tile is larger."""
    data = tiff(np.zeros((64, 64), np.uint8), tile=(64, 64), compression="zlib")
    return replace_tag(replace_tag(data, 322, side), 323, side)


def mrc_that_states_an_extended_header(size: int) -> bytes:
    header = bytearray(1024)
    header[:16] = struct.pack("<4i", 64, 64, 1, 0)
    header[92:96], header[104:108], header[208:214] = struct.pack("<i", size), b"FEI1", b"MAP DD"
    return bytes(header)


def hdf5(shape: tuple[int, ...], written: bool = True, dtype: str = "f4", **options: Any) -> bytes:
    """Return an HDF5 file of images of which one number was written."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        dataset = file.create_dataset("data", shape, dtype, **options)
        if written:
            dataset[(0,) * len(shape)] = 1
    return buffer.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "nothing": (lambda: b"", {400}),
    "noise": (lambda: np.random.default_rng(0).bytes(100_000), {415}),
    "PNG that inflates to 10 GB, of a few pixels": (lambda: png(64, 64, zeros(10 * 2**30)), {400, 422}),
    "PNG that says it is 10 GB": (lambda: png(72_000, 72_000, zeros(2**24)), {413}),
    "PNG just over the limit": (lambda: png(8193, 8192, zeros(2**20)), {413}),
    "PNG with a text that inflates": (
        lambda: png(64, 64, zlib.compress(bytes(64 * 129)), chunk(b"zTXt", b"a\0\0" + zeros(200 * 2**20))),
        {400, 413, 422},
    ),
    "PNG of color profiles": (
        lambda: png(64, 64, b"", *[chunk(b"iCCP", b"a\0\0" + zeros(2**20))] * 20),
        {400},
    ),
    "JPEG of Exif segments": (
        lambda: b"\xff\xd8" + b"\xff\xe1\0\x08Exif\0\0" * 200 + picture(np.eye(64, dtype=np.uint8), "JPEG")[2:],
        {400},
    ),
    "PNG cut off": (lambda: picture(np.eye(64, dtype=np.uint8))[:60], {400}),
    "1 x 1": (lambda: picture(np.zeros((1, 1), np.uint8)), {400, 422}),
    "1 x 100000": (lambda: png(1, 100_000, zlib.compress(bytes(300_000))), {400, 422}),
    "one value": (lambda: picture(np.full((128, 128), 7, np.uint8)), {422}),
    "TIFF that lies": (lambda: tiff_that_claims(2000), {400}),
    "TIFF that says it is huge": (lambda: tiff_that_claims(100_000), {400, 413}),
    "TIFF of zero pixels": (lambda: tiff_that_claims(0), {400, 422}),
    "TIFF whose directory is a loop": (lambda: b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0", {400}),
    "TIFF of infinite counts": (lambda: tiff(np.full((64, 64), np.inf, np.float32)), {400, 422}),
    "TIFF of no numbers": (lambda: tiff(np.full((64, 64), np.nan, np.float32)), {400, 422}),
    "HDF5 that says it is huge": (lambda: hdf5_that_claims(100_000), {413}),
    "HDF5 never written": (lambda: hdf5((8192, 8192), written=False), {400}),
    "HDF5 that was filled": (lambda: hdf5((8192, 8192), written=False, chunks=(512, 512), fillvalue=3), {400}),
    "HDF5 that inflates": (lambda: hdf5((8192, 8192), chunks=(256, 256), compression="gzip"), {413}),
    "HDF5 of doubles": (lambda: hdf5((8192, 8192), written=False, dtype="f8"), {413}),
    "HDF5 of large chunks": (lambda: hdf5((4200, 128, 128), written=False, chunks=(4200, 128, 128)), {413}),
    "MRC that states an extended header": (lambda: mrc_that_states_an_extended_header(2**31 - 1), {400}),
    "TIFF of one tile": (lambda: tiff_of_one_tile(32768), {413}),
    "color picture of 17 megapixels": (lambda: png(4352, 4096, b"", color=2, depth=8), {413}),
    "palette of 17 megapixels": (lambda: png(4352, 4096, b"", chunk(b"PLTE", bytes(768)), color=3, depth=8), {413}),
    "HDF5 cut off": (lambda: hdf5_that_claims(1000)[:700], {400}),
    "HDF5 of nothing but its name": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(500), {400}),
    "NPZ that inflates": (npz_bomb, {400, 413}),
    "NPY that says it is huge": (
        lambda: b"\x93NUMPY\x01\0\x76\0" + f"{HUGE_ARRAY:117}\n".encode(),
        {413},
    ),
    "zip": (lambda: b"PK\x03\x04" + bytes(100), {415}),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(100), {415}),
    "GIF": (lambda: picture(np.zeros((64, 64), np.uint8), "GIF"), {415}),
    "XML": (lambda: b'<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>', {415}),
    "JSON nested": (lambda: nested_boxes(100_000), {400}),
    "JSON of a million points": (lambda: b'{"points": [' + b"[1,2,3]," * 999_999 + b"[1,2,3]]}", {413}),
    "CSV of a million points": (lambda: b"x,y,i\n" + b"1,2,3\n" * 1_000_000, {413}),
    "CSV of one endless line": (lambda: b"1," * 5_000_000, {413}),
    "CSV of an endless line after points": (lambda: b"1,0,1\n0,1,1\n-1,0,1\n" + b"1," * 40_000, {413}),
    "CSV of infinite numbers": (lambda: b"x,y,i\n1,inf,1\n2,1,1\n3,1,1\n", {400}),
    "CSV of endless digits": (lambda: b"x,y,i\n" + b"9" * 10_000_000 + b",1,1\n", {413}),
    "text over its limit": (lambda: b"1 2 3\n" * 3_000_000, {413}),
}  # fmt: skip

BODIES: dict[str, tuple[str | bytes, set[int]]] = {
    "no JSON": ("{", {400}),
    "nested": (b"[" * 100_000, {400}),
    "nested a million times": (b"[" * 1_000_000, {413}),
    "points nested": (nested_boxes(100), {400, 422}),
    "NaN": (json.dumps({"points": [*RING, [float("nan"), 1, 1]]}), {400}),
    "infinite": (json.dumps({"points": [*RING, [1, float("inf"), 1]]}), {400}),
    "too large for a float": ('{"points": [[1e999, 1, 1], [1, 1, 1], [2, 1, 1]]}', {400}),
    "endless digits": ('{"points": [[1' + "0" * 1_000_000 + ", 1, 1]]}", {400}),
    "no point": ('{"points": []}', {422}),
    "one point": ('{"points": [[1, 0, 1]]}', {422}),
    "negative intensity": (json.dumps({"points": [*RING, [1, 1, -1]]}), {400}),
    "no intensity at all": (json.dumps({"points": [[x, y, 0] for x, y, _ in RING]}), {400, 422}),
    "100001 points": (json.dumps({"points": [[1, 2, 3]] * 100_001}), {413}),
    "a million points": ('{"points": [' + "[1,2,3]," * 999_999 + "[1,2,3]]}", {413}),
    "a million keys": ("{" + ",".join(f'"k{n}":1' for n in range(300_000)) + ', "points": []}', {422}),
    "a long key": ('{"' + "k" * 1_000_000 + '": 1, "points": []}', {422}),
    "a key twice": ('{"points": [[1,0,1]], "points": []}', {422}),
    "an option too long": (json.dumps({"points": RING, "units": "x" * 1_000_000}), {422}),
    "a list too long": (json.dumps({"points": RING, "elements_all": ["Mo"] * 1_000_000}), {422}),
    "a composition too long": (
        json.dumps({"points": RING, "composition": {f"e{n}": None for n in range(100_000)}}),
        {422},
    ),
    "a path for a calibration": (json.dumps({"points": RING, "calibration": "../../etc/passwd"}), {422}),
    "lone surrogates": ('{"points": [], "\\ud800": "\\udfff"}', {400, 422}),
}  # fmt: skip


def check_refusal(response: Any, statuses: set[int]) -> None:
    assert response.status_code in statuses, response.text[:500]
    detail = problem_of(response, response.status_code)
    assert not LEAK.search(response.text), response.text
    assert ADVICE.search(detail), detail
    assert len(detail) <= 1000


def limit_memory(request: Callable[[], Any]) -> Any:
    tracemalloc.start()
    try:
        response = request()
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()
    return response


@pytest.mark.parametrize("path", ["/predict", "/inspect"])
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(client: TestClient, name: str, path: str) -> None:
    make, statuses = FILES[name]
    data = make()
    response = limit_memory(
        lambda: client.post(path, files={"file": ("upload", data)}, data={"pixel_size": "0.01"})
    )
    check_refusal(response, statuses)


CIF = "data_a\n_cell_length_a 3\n"
STRUCTURES: dict[str, Any] = {
    "none": [],
    "one": [CIF],
    "no list": "a",
    "no texts": [1, 2],
    "too many": [CIF] * 21,
    "no structures": ["nonsense", "more of it"],
    "empty": ["", ""],
    "damaged": [CIF, CIF],
    "too long": [CIF + "#" * 100_000, CIF],
    "a path": ["/etc/passwd", "file:///etc/passwd"],
    "brackets": ["data_a\n" + "(" * 60_000, CIF],
    "a huge cell": ["a\n1\n1e300 0 0\n0 1e300 0\n0 0 1e300\nC\n1\ndirect\n0 0 0\n"] * 2,
    "a flat cell": ["a\n1\n0 0 0\n0 0 0\n0 0 0\nC\n1\ndirect\n0 0 0\n"] * 2,
    "a million atoms": ["a\n1\n1 0 0\n0 1 0\n0 0 1\nC\n1000000\ndirect\n0 0 0\n"] * 2,
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_hostile_structures_are_refused(client: TestClient, name: str) -> None:
    body = {"points": [[0.47, 0, 1], [-0.47, 0, 1], [0.235, 0.407, 1], [-0.235, -0.407, 1]]}
    request = {**body, "structures": STRUCTURES[name]}
    check_refusal(limit_memory(lambda: client.post("/compare", json=request)), {400, 413, 415, 422})


@pytest.mark.parametrize("count", [65, 20_000])
@pytest.mark.parametrize("as_files", [True, False])
def test_a_form_with_too_many_fields_is_refused(client: TestClient, count: int, as_files: bool) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="a"' + (b'; filename="a"' if as_files else b"")
    body = (head + b"\r\n\r\n1\r\n") * count + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    check_refusal(limit_memory(lambda: client.post("/predict", content=body, headers=headers)), {400})


@pytest.mark.parametrize("name", BODIES)
def test_hostile_json_is_refused(client: TestClient, name: str) -> None:
    body, statuses = BODIES[name]
    headers = {"Content-Type": "application/json"}
    check_refusal(limit_memory(lambda: client.post("/predict", content=body, headers=headers)), statuses)


@pytest.fixture
def administrator(library: StandIn, tmp_path: Path) -> Iterator[TestClient]:
    with client_with_key(library, tmp_path) as client:
        yield client


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


# For the other routes that accept JSON: too nested for the parser, and too nested to be parsed at all.
OTHER_BODIES = {
    "nested": (nested(10_000), 400),
    "nested a million times": (nested(1_000_000), 413),
    "a million lists": (b'{"structure": [' + b"[]," * 999_999 + b"[]]}", 413),
    "a million keys": (b"{" + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}", 422),
    "a list": (b"[[]]", 422),
}


@pytest.mark.parametrize("path", ["/structures", "/admin/reload", "/replay", "/compare"])
@pytest.mark.parametrize("name", OTHER_BODIES)
def test_hostile_json_is_refused_by_every_route(administrator: TestClient, path: str, name: str) -> None:
    body, status = OTHER_BODIES[name]
    headers = {"Content-Type": "application/json"}
    check_refusal(limit_memory(lambda: administrator.post(path, content=body, headers=headers)), {status})


@pytest.mark.parametrize("name", OTHER_BODIES)
def test_a_hostile_stored_answer_is_refused(client: TestClient, name: str) -> None:
    body, status = OTHER_BODIES[name]
    files = {"file": ("a.csv", b"1,2,3\n"), "answer": ("a.json", body)}
    check_refusal(limit_memory(lambda: client.post("/replay", files=files)), {status})


@pytest.mark.parametrize(
    ("key", "items"),
    [
        ("candidates", [{}] * 100_000),
        ("candidates", [1] * 100_000),
        ("pattern", {"points": [1] * 200_000, "units": "pixel", "center": None, "pixel_size": None}),
        ("query", {"voltage_kv": 80, "options": {f"k{n}": 1 for n in range(100_000)}}),
        ("timing_ms", {f"k{n}": None for n in range(100_000)}),
    ],
)
def test_a_stored_answer_of_many_errors_is_refused_at_the_first(
    client: TestClient, key: str, items: Any
) -> None:
    answer = {"candidates": [], "query": {"voltage_kv": 80}, "provenance": {}, key: items}
    check_refusal(limit_memory(lambda: client.post("/replay", json={"answer": answer})), {422})


def test_a_stored_answer_that_is_too_long_is_refused(client: TestClient) -> None:
    body = b'{"answer": [' + b"1.5," * 9_000_000 + b"1]}"
    files = {"file": ("a.csv", b"1,2,3\n"), "answer": ("a.json", body)}
    check_refusal(client.post("/replay", files=files), {413})
