"""Invalid uploads always get a 4xx that says what to do."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.app.answers import problem_of
from tests.app.stand_in import StandIn


def post_text(client: TestClient, body: bytes | str, kind: str = "application/json") -> Any:
    return client.post("/predict", content=body, headers={"Content-Type": kind})


def post_file(client: TestClient, data: bytes, name: str = "upload") -> Any:
    return client.post("/predict", files={"file": (name, data)}, data={"pixel_size": "0.01"})


def png(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """Return a PNG whose header claims an image that must not be decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("body", ["", "{", "nonsense", '{"points": [[1,2,3],}', b"\xff\xfe", "[" * 100_000])
def test_invalid_json_is_a_400(client: TestClient, body: bytes | str) -> None:
    assert "JSON" in problem_of(post_text(client, body), 400)


@pytest.mark.parametrize("body", ["[[1,2,3]]", "5", "null", '"points"', "{}", '{"points": null}'])
def test_json_without_points_says_what_to_send(client: TestClient, body: str) -> None:
    assert "points" in problem_of(post_text(client, body), 422)


@pytest.mark.parametrize(
    "points", ["5", '"a"', "{}", "true", '{"0": [1, 2]}'], ids=["number", "text", "object", "true", "dict"]
)
def test_points_of_another_type_are_a_422(client: TestClient, points: str) -> None:
    assert "list" in problem_of(post_text(client, f'{{"points": {points}}}'), 422)


RING = "[1,0,1],[0,1,1],[-1,0,1],[0,-1,1]"


@pytest.mark.parametrize(
    "points",
    [
        f"[{RING},[NaN,1,1]]",
        f"[{RING},[1,Infinity,1]]",
        f"[{RING},[1,1e999,1]]",
        f"[{RING},[1,1,-1]]",
        f"[{RING},[1]]",
        f"[{RING},[1,2,3,4]]",
        f"[{RING},5]",
        f"[{RING},null]",
        f'[{RING},["a","b","c"]]',
        f"[{RING},[[1],[2],[3]]]",
        f"[{RING},[[1,2],[3]]]",
        f"[{RING},[{{}},1,1]]",
        '[{"x":1,"y":2}]',
        f"[{RING},[1{'0' * 400},1,1]]",
    ],
)
def test_invalid_points_are_a_400(client: TestClient, points: str) -> None:
    detail = problem_of(post_text(client, f'{{"points": {points}}}'), 400)
    assert "point" in detail or "read" in detail


@pytest.mark.parametrize("points", ["[]", "[[0,0,1]]", "[[1,0,1],[-1,0,1]]", "[[0,0,1],[0,0,2],[0,0,3]]"])
def test_too_few_points_are_a_422(client: TestClient, points: str) -> None:
    problem_of(post_text(client, f'{{"points": {points}}}'), 422)


def test_a_detail_does_not_repeat_the_upload(client: TestClient) -> None:
    detail = problem_of(post_text(client, f'{{"points": [{RING}, ["{"a" * 100_000}", 1, 1]]}}'), 400)
    assert len(detail) < 200


@pytest.mark.parametrize(
    "header",
    [
        "(" * 1_000_000,
        "a" + " " * 1_000_000 + "b",
        "x ( " * 300_000,
        "x_" * 500_000 + ",y",
        ",".join(["x,y"] * 100_000),
        "log " * 300_000,
    ],
    ids=["brackets", "blanks", "pairs", "long", "many", "logarithms"],
)
def test_a_line_that_no_table_has_is_a_413(client: TestClient, header: str) -> None:
    response = post_file(client, f"{header}\n0.1,0.2\n0.3,0.1\n-0.1,-0.2\n".encode())
    assert "characters" in problem_of(response, 413)


def test_a_million_points_are_a_413(client: TestClient) -> None:
    body = '{"points": [' + ",".join(["[1,2,3]"] * 1_000_000) + "]}"
    assert "100000" in problem_of(post_text(client, body), 413)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/csv", "application/x-www-form-urlencoded", "image/png", "nonsense", "multipart/mixed"],
)
def test_an_unsupported_content_type_is_a_415(client: TestClient, content_type: str) -> None:
    detail = problem_of(post_text(client, '{"points": []}', content_type), 415)
    assert "multipart/form-data" in detail
    assert "application/json" in detail


def test_a_json_suffix_counts_as_json(client: TestClient) -> None:
    body = f'{{"points": [{RING}]}}'
    assert post_text(client, body, "application/vnd.lab+json; charset=utf-8").status_code == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"\x00\x01\x02\x03" * 100, 415),
        (b"GIF89a" + bytes(100), 415),
        (b"PK\x03\x04" + bytes(100), 415),
        (b"%PDF-1.7\n\x00\x00", 415),
        (b"\x89PNG\r\n\x1a\n", 400),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), 400),
        (b"II*\x00" + b"\xff" * 64, 400),
        (b"MM\x00*" + bytes(4), 400),
        (b"hello, this is a letter", 415),
        (b"x,y,intensity\n", 422),
        (b"x,y,intensity\n1,2\n", 400),
        (b"x,y,intensity\n1,2,abc\n", 400),
        (b'{"points": [[1,2,', 400),
        (b'{"X": [[1,2],[3,4],["a","b"]]}', 400),
        (b'{"nothing": 1}', 415),
    ],
)
def test_files_without_a_pattern_are_refused(client: TestClient, data: bytes, status: int) -> None:
    problem_of(post_file(client, data), status)


def test_images_without_a_pattern_are_refused(client: TestClient) -> None:
    assert post_file(client, png(np.zeros((1, 1), np.uint8))).status_code in {400, 422}
    problem_of(post_file(client, png(np.full((128, 128), 7, np.uint16))), 422)
    problem_of(post_file(client, png_that_claims(100_000, 100_000)), 413)
    problem_of(post_file(client, png_that_claims(2000, 2000)), 400)


@pytest.mark.parametrize("seed", range(40))
def test_a_mangled_upload_never_gets_a_500(client: TestClient, point_file: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = png(rng.poisson(20, (64, 64)).astype(np.uint16))
    data = bytearray((point_file, frame)[seed % 2])
    for at in rng.integers(0, len(data), 1 + seed):
        data[at] = rng.integers(0, 256)
    response = post_file(client, bytes(data[: rng.integers(1, len(data))]))
    assert response.status_code in {200, 400, 413, 415, 422}


def test_a_failing_reader_is_a_400_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, point_file: bytes
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("app.services.uploads.read_pattern_and_frame", fail)
    assert "secret" not in problem_of(post_file(client, point_file), 400)


def test_a_form_needs_the_field_file(client: TestClient, point_file: bytes) -> None:
    other = client.post("/predict", files={"pattern": ("a", point_file)})
    assert "'pattern'" in problem_of(other, 422)
    text = client.post("/predict", files={"file": (None, "no file but a field")})
    assert "`file`" in problem_of(text, 422)


def test_two_files_are_refused(client: TestClient, point_file: bytes) -> None:
    both = [("file", ("a", point_file)), ("file", ("b", point_file))]
    assert "file" in problem_of(client.post("/predict", files=both), 400)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 10_000),
    ],
)
def test_an_invalid_form_is_a_4xx(client: TestClient, kind: str, body: bytes) -> None:
    response = post_text(client, body, kind)
    problem_of(response, response.status_code)
    assert response.status_code in {400, 422}


def test_a_huge_field_is_a_400(client: TestClient, point_file: bytes) -> None:
    response = client.post("/predict", files={"file": ("a", point_file)}, data={"units": "x" * 100_000})
    problem_of(response, 400)


@pytest.fixture
def small(library: StandIn) -> Iterator[TestClient]:
    settings = Settings(max_upload_bytes=4096, max_json_bytes=2048)
    with TestClient(create_app(settings, library)) as client:
        yield client


def test_a_large_file_is_a_413(small: TestClient) -> None:
    assert "DD2D_MAX_UPLOAD_BYTES" in problem_of(post_file(small, bytes(5000)), 413)


def test_large_json_is_a_413(small: TestClient) -> None:
    body = json.dumps({"points": [[0.1, 0.2, 0.3]] * 500})
    assert "DD2D_MAX_JSON_BYTES" in problem_of(post_text(small, body), 413)


def test_a_stream_is_aborted_at_the_limit(small: TestClient) -> None:
    sent = 0

    def endless_body() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b" " * 1024

    response = small.post("/predict", content=endless_body(), headers={"Content-Type": "application/json"})
    problem_of(response, 413)
