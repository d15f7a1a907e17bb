"""`dd2d predict` processes folders, and uses a running service."""

import csv
import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from app.auth.api_keys import create_key
from app.cli.main import main
from app.main import create_app
from app.settings import Settings
from app.workers.handlers import JobHandler
from app.workers.thread_worker import ThreadWorker
from tests.app.conftest import run_server
from tests.app.http.test_batch import make_zip
from tests.app.stand_in import StandIn
from tests.pattern.formats.camera_files import npy


@pytest.fixture
def folder(tmp_path: Path, point_file: bytes) -> Path:
    inside = tmp_path / "session"
    (inside / "b").mkdir(parents=True)
    (inside / "a.json").write_bytes(point_file)
    (inside / "b" / "c.tif").write_bytes(b"II*\x00")
    (inside / "d.zip").write_bytes(make_zip(x=point_file))
    (inside / ".hidden").write_bytes(b"no pattern")
    return inside


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch, library: StandIn) -> None:
    handler = JobHandler(library)
    monkeypatch.setattr(
        "app.main.create_workers", lambda _settings: [ThreadWorker(handler, handler.provenance)]
    )


@pytest.mark.parametrize("remote", [False, True])
def test_a_folder_becomes_a_table(
    folder: Path, address: str, capsys: pytest.CaptureFixture[str], remote: bool
) -> None:
    arguments = ["predict", str(folder), "--top-k", "1", *(["--url", address] if remote else [])]
    assert main(arguments) == 1
    output = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output.out)))
    names = [row["file"].removeprefix(str(folder)) for row in rows]
    assert names == ["/a.json", "/b/c.tif", "/d.zip/x"]
    assert [row["formula"] for row in rows] == ["C", "", "C"]
    assert "damaged" in rows[1]["error"] or "truncated" in rows[1]["error"]
    assert "3 patterns, 1 failed" in output.err


@pytest.mark.parametrize("remote", [False, True])
def test_the_progress_bar_counts_files_not_patterns(
    folder: Path, address: str, point_file: bytes, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    bars: list[tqdm[None]] = []

    def record_bar(**options: Any) -> "tqdm[None]":
        bars.append(tqdm(**{**options, "disable": False, "file": io.StringIO()}))
        return bars[-1]

    monkeypatch.setattr("tqdm.tqdm", record_bar)
    (folder / "d.zip").write_bytes(make_zip(x=point_file, y=point_file, z=point_file))
    scan = npy(np.zeros((3, 64, 64), np.uint8))
    (folder / "e.npy").write_bytes(scan)
    assert main(["predict", str(folder), "--effort", "search", *(["--url", address] if remote else [])]) == 1
    (bar,) = bars
    assert bar.n == bar.total == 4


def test_complete_answers_are_written_to_a_json_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.json"
    assert main(["predict", str(folder / "a.json"), str(folder / "d.zip"), "--out", str(out)]) == 0
    answers = json.loads(out.read_text())
    assert [each["answer"]["candidates"][0]["formula"] for each in answers] == ["C", "C"]


@pytest.mark.parametrize("output_format", ["json", "cif", "table"])
def test_a_service_gives_the_same_answer_as_a_local_index(
    folder: Path,
    address: str,
    capsys: pytest.CaptureFixture[str],
    output_format: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.services.search_index.open_index", lambda _settings: StandIn())
    printed = []
    for where in ([], ["--url", address]):
        assert main(["predict", str(folder / "a.json"), "--format", output_format, *where]) == 0
        printed.append(capsys.readouterr().out)
    if output_format == "json":
        for text in printed:
            assert json.loads(text)["candidates"][0]["id"] == "graphene"
    else:
        assert printed[0] == printed[1] != ""


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["predict", *arguments]) == 2
    return capsys.readouterr().err


def test_impossible_calls_are_refused(
    folder: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = str(folder / "b" / "c.tif")
    assert "does not exist" in refused(capsys, str(folder / "absent"), "--out", "x.csv")
    assert ".csv or .json" in refused(capsys, str(folder), "--out", "x.txt")
    assert "only for one pattern" in refused(capsys, str(folder), "--format", "cif")
    assert "is unreachable" in refused(capsys, bad, "--url", "http://127.0.0.1:9")
    assert "is not a URL" in refused(capsys, bad, "--url", "microscope:8000")
    assert "TIFF" in refused(capsys, bad, "--url", address)
    (tmp_path / "empty").mkdir()
    assert "no files" in refused(capsys, str(tmp_path / "empty"))


def test_a_remote_prediction_imports_nothing_heavy(folder: Path, address: str) -> None:
    script = (
        "import sys; from app.cli.main import main; status = main(sys.argv[1:]); "
        "print(*sorted({'torch', 'faiss', 'pymatgen'} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", script, "predict", str(folder / "a.json"), "--url", address]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "C " in run.stdout
    assert run.stderr.splitlines()[-1] == ""


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_file_refused_as_a_whole_is_one_row(
    folder: Path, library: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b" / "large.npy").write_bytes(bytes(300_000))
    with run_server(create_app(Settings(max_batch_bytes=50_000), library)) as port:
        assert main(["predict", str(folder), "--url", f"http://127.0.0.1:{port}"]) == 1
    rows = rows_of(capsys.readouterr().out)
    assert [row["formula"] for row in rows] == ["C", "", "", "C"]
    assert "DD2D_MAX_BATCH_BYTES" in rows[2]["error"]


def test_a_busy_service_is_retried(
    folder: Path, library: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(rate_per_minute=1, rate_burst=1), library)
    waits: list[float] = []

    def record_wait(seconds: float) -> None:
        waits.append(seconds)
        app.state.access.requests._buckets.clear()

    monkeypatch.setattr("app.cli.remote_service.sleep", record_wait)
    with run_server(app) as port:
        assert main(["predict", str(folder), "--url", f"http://127.0.0.1:{port}"]) == 1
    assert len(rows_of(capsys.readouterr().out)) == 3
    assert len(waits) == 2
    assert all(0 < seconds <= 60 for seconds in waits)


def test_answers_are_kept_when_the_service_goes_away(
    folder: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli.remote_service import RemoteService, RemoteServiceError

    predict_batch = RemoteService.predict_batch

    def fail_at_d(self: RemoteService, file: Path, fields: Sequence[tuple[str, str]]) -> Iterator[bytes]:
        if file.name == "d.zip":
            raise RemoteServiceError("The service is unreachable.")
        return predict_batch(self, file, fields)

    monkeypatch.setattr(RemoteService, "predict_batch", fail_at_d)
    out = tmp_path / "table.csv"
    assert main(["predict", str(folder), "--url", address, "--out", str(out)]) == 2
    assert [row["formula"] for row in rows_of(out.read_text())] == ["C", ""]
    failing_at_once = ["predict", str(folder / "d.zip"), "--url", address, "--out", str(out)]
    assert main(failing_at_once) == 2
    assert len(rows_of(out.read_text())) == 2, "an empty table has taken the place of a full one"


@contextmanager
def serve_bytes(answer: bytes) -> Iterator[str]:
    """Yield the address of a server that sends these bytes to its one client and closes."""

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(2**20)
                connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


SHORT, CHUNKED = b"Content-Length: 100\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n40\r\n{}"


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
@pytest.mark.parametrize(("many", "body"), [(False, SHORT), (False, CHUNKED), (True, CHUNKED)])
def test_a_truncated_response_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], status: str, many: bool, body: bytes
) -> None:
    with serve_bytes(f"HTTP/1.1 {status}\r\n".encode() + body) as url:
        file = str(folder / ("d.zip" if many else "a.json"))
        assert "closed the connection" in refused(capsys, file, "--url", url)


def test_a_file_name_that_is_not_text_can_be_sent(
    tmp_path: Path, address: str, point_file: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "odd"
    inside.mkdir()
    (inside / "\udcff.json").write_bytes(point_file)
    for where in ([], ["--url", address]):
        assert main(["predict", str(inside), *where]) == 0
        (row,) = rows_of(capsys.readouterr().out)
        assert row["file"].endswith("?.json")


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://microscope:port", "http://microscope:99999", "http://"]
)
def test_an_invalid_address_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert "is not a URL" in refused(capsys, str(folder), "--url", url)


def test_the_key_is_taken_from_the_environment(
    folder: Path,
    library: StandIn,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = tmp_path / "keys.jsonl"
    key, secret = create_key("lab", "read")
    keys.write_text(key.model_dump_json() + "\n")
    keys.chmod(0o600)
    with run_server(create_app(Settings(keys=keys), library)) as port:
        arguments = ["predict", str(folder / "a.json"), "--url", f"http://127.0.0.1:{port}"]
        assert "An API key is required" in refused(capsys, *arguments[1:])
        monkeypatch.setenv("DD2D_KEY", "dd2d_" + "a" * 43)
        assert "is unknown" in refused(capsys, *arguments[1:])
        monkeypatch.setenv("DD2D_KEY", f"{secret}\n")
        assert main(arguments) == 0
    monkeypatch.setenv("DD2D_KEY", f"{secret}\nInjected: yes")
    error = refused(capsys, *arguments[1:])
    assert "is not an API key" in error
    assert secret not in error
