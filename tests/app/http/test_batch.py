"""`POST /predict/batch`: one line per pattern, in order, independent of the others."""

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.http.dependencies import MAX_BATCHES
from app.main import create_app
from app.presentation.schemas.batch import BatchLine
from app.presentation.schemas.service import Provenance
from app.services.options import PredictOptions
from app.services.uploads import SavedFile
from app.settings import Settings
from app.workers import batch
from app.workers.batch import Batch, BatchResult
from app.workers.messages import CountImagesJob, ImageCountReply, Job, PredictionReply, ReplyT
from app.workers.zip_archive import Member, read_members
from model.errors import UnreadableError
from tests.app.answers import problem_of
from tests.app.http.test_inspect import PIXEL_SIZE, frame
from tests.app.stand_in import StandIn
from tests.pattern.formats.camera_files import npy
from tests.pattern.formats.camera_files import tiff as written_tiff

PROVENANCE = Provenance(version="1", model="m", index="i", crystals=1, user_structures=0)
Files = list[tuple[str, tuple[str, bytes]]]


def form_parts(*files: tuple[str, bytes]) -> Files:
    return [("file", file) for file in files]


def make_zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def post_batch(client: TestClient, files: Files, **options: str) -> list[dict[str, Any]]:
    response = client.post("/predict/batch", files=files, data=options)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    for each in lines:
        BatchLine.model_validate(each)
    assert [each["index"] for each in lines] == list(range(len(lines)))
    assert {each["progress"]["files"] for each in lines} == {len(files)}
    assert [each["progress"]["file"] for each in lines] == sorted(each["progress"]["file"] for each in lines)
    assert {each["progress"]["file"] for each in lines} == set(range(1, len(files) + 1))
    return lines


def test_each_file_is_a_line_and_a_damaged_one_is_one_problem(client: TestClient, point_file: bytes) -> None:
    files = form_parts(("a.json", point_file), ("bad.tif", b"II*\x00"), ("b.json", point_file))
    first, bad, second = post_batch(client, files, top_k="2")
    for line in (first, second):
        assert (line["status"], line["problem"]) == (200, None)
        assert line["answer"]["candidates"][0]["id"] == "graphene"
        assert len(line["answer"]["candidates"]) == 2
    assert bad["name"] == "bad.tif"
    assert bad["status"] == bad["problem"]["status"] == 400
    assert bad["answer"] is None
    ids = [first["answer"]["request_id"], bad["problem"]["request_id"], second["answer"]["request_id"]]
    assert [each.rpartition("-")[2] for each in ids] == ["0", "1", "2"]


def test_the_members_of_a_zip_are_patterns(client: TestClient, point_file: bytes) -> None:
    archive = make_zip(**{"x/a.json": point_file, "b.txt": b"nothing", "../c.json": point_file})
    results = post_batch(client, form_parts(("lab.zip", archive), ("d.json", point_file)))
    assert [(each["name"], each["status"]) for each in results] == [
        ("lab.zip/x/a.json", 200),
        ("lab.zip/b.txt", 415),
        ("lab.zip/../c.json", 400),
        ("d.json", 200),
    ]


def test_a_zip_of_npy_frames_is_not_an_npz(client: TestClient) -> None:
    import tifffile

    data = npy(tifffile.imread(io.BytesIO(frame())))
    archive = make_zip(**{"a.npy": data, "b.npy": data})
    results = post_batch(
        client, form_parts(("lab.ZIP", archive), ("lab.npz", archive)), pixel_size=str(PIXEL_SIZE)
    )
    assert [(each["name"], each["status"]) for each in results] == [
        ("lab.ZIP/a.npy", 200),
        ("lab.ZIP/b.npy", 200),
        ("lab.npz", 200),
    ]


def test_a_damaged_zip_is_one_problem(client: TestClient, point_file: bytes) -> None:
    results = post_batch(
        client, form_parts(("lab.zip", make_zip(a=point_file)[:-30]), ("d.json", point_file))
    )
    assert [(each["name"], each["status"]) for each in results] == [("lab.zip", 400), ("d.json", 200)]


@pytest.mark.parametrize("kind", ["npy", "tiff"])
def test_each_image_of_a_scan_is_a_pattern(client: TestClient, kind: str) -> None:
    import tifffile

    single = tifffile.imread(io.BytesIO(frame()))
    stack = np.stack([np.roll(single, shift, axis=1) for shift in (0, 2, 4)] + [np.full_like(single, 7)])
    data = (
        npy(stack.reshape(2, 2, *single.shape))
        if kind == "npy"
        else written_tiff(stack, photometric="minisblack")
    )
    results = post_batch(client, form_parts(("scan", data)), pixel_size=str(PIXEL_SIZE))
    assert [(each["image"], each["status"]) for each in results] == [(0, 200), (1, 200), (2, 200), (3, 422)]
    centers = [each["answer"]["query"]["center"][0] for each in results[:3]]
    assert np.diff(centers) == pytest.approx([2, 2], abs=0.1)


def test_a_tiff_with_too_many_pages_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.pattern.formats.tiff.MAX_PAGES", 3)
    data = [written_tiff(np.zeros((pages, 64, 64), np.uint8), photometric="minisblack") for pages in (3, 4)]
    *few, many = post_batch(client, form_parts(("few.tif", data[0]), ("many.tif", data[1])))
    assert [each["image"] for each in few] == [0, 1, 2]
    assert (many["name"], many["image"], many["status"]) == ("many.tif", None, 422)
    assert "more than 3 pages" in many["problem"]["detail"]


def test_the_option_frame_selects_one_image_of_a_scan(client: TestClient) -> None:
    import tifffile

    single = tifffile.imread(io.BytesIO(frame()))
    data = npy(np.stack([np.full_like(single, 7), single]))
    (line,) = post_batch(client, form_parts(("scan", data)), pixel_size=str(PIXEL_SIZE), frame="1")
    assert (line["image"], line["status"]) == (None, 200)


def test_a_batch_may_be_longer_than_the_queue(library: StandIn, point_file: bytes) -> None:
    with TestClient(create_app(Settings(workers=1, queue=0), library)) as client:
        results = post_batch(client, form_parts(*[(f"{n}.json", point_file) for n in range(40)]))
    assert [each["status"] for each in results] == [200] * 40


def test_an_internal_error_is_one_line(
    client: TestClient, library: StandIn, point_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "search", None)
    (line,) = post_batch(client, form_parts(("a.json", point_file)))
    assert line["status"] == 500
    assert "log" in line["problem"]["detail"]


def test_an_invalid_request_is_refused_as_a_whole(client: TestClient, point_file: bytes) -> None:
    post = client.post
    problem_of(post("/predict/batch", files=form_parts(("a", point_file)), data={"top_k": "0"}), 422)
    problem_of(post("/predict/batch", json={"points": [[1, 2, 3]]}), 415)
    problem_of(post("/predict/batch", data={"top_k": "3"}, files=[("x", (None, ""))]), 422)
    for files in (
        [("other", ("a", point_file))],
        [*form_parts(("a", point_file)), ("flie", ("b", point_file))],
    ):
        assert files[-1][0] in problem_of(post("/predict/batch", files=files), 422)
    headers = {"Accept": "image/png"}
    problem_of(post("/predict/batch", files=form_parts(("a", point_file)), headers=headers), 406)


def test_too_many_batches_are_a_429(library: StandIn, point_file: bytes) -> None:
    app = create_app(Settings(), library)
    with TestClient(app) as client:
        batches = app.state.service.batches
        for _ in range(MAX_BATCHES):
            client.portal.call(batches.acquire)  # type: ignore[union-attr]
        response = client.post("/predict/batch", files=form_parts(("a", point_file)))
        assert "are running" in problem_of(response, 429)
        client.portal.call(batches.release)  # type: ignore[union-attr]
        for _ in range(3):
            assert len(post_batch(client, form_parts(("a", point_file)))) == 1


@pytest.mark.parametrize("stays_connected", [False, True])
def test_a_client_that_reads_no_line_releases_its_batch(
    library: StandIn,
    point_file: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stays_connected: bool,
) -> None:
    """The client disconnects before the first line, or stays connected and reads nothing."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = create_app(Settings(stall_s=0.02), library)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict/batch",
        "headers": headers,
        "query_string": b"",
    }
    messages = [{"type": "http.request", "body": head + point_file + b"\r\n--x--\r\n"}]
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        if stays_connected and not messages:
            await asyncio.Event().wait()
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if stays_connected and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    with TestClient(app) as client:
        client.portal.call(app, scope, receive, send)  # type: ignore[union-attr]
        assert not messages
        assert sent[:2] == (
            ["http.response.start", "http.response.body"] if stays_connected else ["http.response.start"]
        )
        for _ in range(MAX_BATCHES - 1):
            client.portal.call(app.state.service.batches.acquire)  # type: ignore[union-attr]
        assert not app.state.service.batches.locked()
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_is_too_large_is_a_413(library: StandIn, point_file: bytes) -> None:
    with TestClient(create_app(Settings(max_batch_bytes=2048), library)) as client:
        response = client.post("/predict/batch", files=form_parts(("a", point_file * 3)))
    assert "DD2D_MAX_BATCH_BYTES" in problem_of(response, 413)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    names = ["missing", "harmful", "good"]
    for name in names[1:]:
        (tmp_path / name).write_bytes(b"1 2 3")

    async def run(job: Job[ReplyT]) -> ReplyT:
        if not isinstance(job, CountImagesJob):
            return PredictionReply(b"{}", {}, None, PROVENANCE, None)  # type: ignore[return-value]
        if job.file.filename == "harmful":
            raise UnreadableError("The upload crashed the process that read it.")
        return ImageCountReply(1)  # type: ignore[return-value]

    async def results() -> list[BatchResult]:
        files = tuple(SavedFile(tmp_path / name, name) for name in names)
        return [each async for each in Batch(files, PredictOptions.from_json({}), "id").results(run, 2)]

    missing, harmful, good = asyncio.run(results())
    assert [each.item.name for each in (missing, harmful, good)] == names
    for result in (missing, harmful):
        assert isinstance(result.outcome, UnreadableError)
    assert str(missing.outcome) == "The file cannot be opened: No such file or directory."
    assert good.outcome == b"{}"


def test_zips_are_read_outside_the_event_loop(
    client: TestClient, point_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()

    def record_threads(data: bytes) -> Iterator[Member]:
        for member in read_members(data):
            threads.add(threading.get_ident())
            yield member

    monkeypatch.setattr(batch, "read_members", record_threads)
    assert len(post_batch(client, form_parts(("lab.zip", make_zip(a=point_file, b=point_file))))) == 2
    assert threads
    assert client.portal is not None
    assert client.portal.call(threading.get_ident) not in threads
