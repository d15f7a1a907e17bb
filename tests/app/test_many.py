"""`dd2d predict` of folders, and of a running service."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from app.desk import Desk
from app.serving.threads import ThreadWorker
from tests.app.stand_in import StandIn
from tests.app.test_batch import zipped


@pytest.fixture
def folder(tmp_path: Path, point_file: bytes) -> Path:
    inside = tmp_path / "session"
    (inside / "b").mkdir(parents=True)
    (inside / "a.json").write_bytes(point_file)
    (inside / "b" / "c.tif").write_bytes(b"II*\x00")
    (inside / "d.zip").write_bytes(zipped(x=point_file))
    (inside / ".hidden").write_bytes(b"no pattern")
    return inside


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch, library: StandIn) -> None:
    desk = Desk(library)
    monkeypatch.setattr("app.main.processes", lambda _settings: [ThreadWorker(desk, desk.serving())])


@pytest.mark.parametrize("remote", [False, True])
def test_a_folder_becomes_a_table(
    folder: Path, address: str, capsys: pytest.CaptureFixture[str], remote: bool
) -> None:
    asked = ["predict", str(folder), "--top-k", "1", *(["--url", address] if remote else [])]
    assert main(asked) == 1
    told = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(told.out)))
    names = [row["file"].removeprefix(str(folder)) for row in rows]
    assert names == ["/a.json", "/b/c.tif", "/d.zip/x"]
    assert [row["formula"] for row in rows] == ["C", "", "C"]
    assert "damaged" in rows[1]["error"] or "truncated" in rows[1]["error"]
    assert "3 patterns, 1 could not be answered" in told.err


def test_whole_answers_go_to_a_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.json"
    assert main(["predict", str(folder / "a.json"), str(folder / "d.zip"), "--out", str(out)]) == 0
    answers = json.loads(out.read_text())
    assert [each["answer"]["candidates"][0]["formula"] for each in answers] == ["C", "C"]


@pytest.mark.parametrize("kind", ["json", "cif", "table"])
def test_one_pattern_is_the_same_from_a_service(
    folder: Path, address: str, capsys: pytest.CaptureFixture[str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.library.open_library", lambda _settings: StandIn())
    printed = []
    for where in ([], ["--url", address]):
        assert main(["predict", str(folder / "a.json"), "--format", kind, *where]) == 0
        printed.append(capsys.readouterr().out)
    if kind == "json":
        for text in printed:
            assert json.loads(text)["candidates"][0]["id"] == "graphene"
    else:
        assert printed[0] == printed[1] != ""


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["predict", *arguments]) == 2
    return capsys.readouterr().err


def test_what_cannot_be_done_is_told(
    folder: Path, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = str(folder / "b" / "c.tif")
    assert "no such file" in refused(capsys, str(folder / "absent"), "--out", "x.csv")
    assert ".csv or .json" in refused(capsys, str(folder), "--out", "x.txt")
    assert "of one pattern" in refused(capsys, str(folder), "--format", "cif")
    assert "cannot be reached" in refused(capsys, bad, "--url", "http://127.0.0.1:9")
    assert "give an address" in refused(capsys, bad, "--url", "microscope:8000")
    assert "TIFF" in refused(capsys, bad, "--url", address)
    (tmp_path / "empty").mkdir()
    assert "no files" in refused(capsys, str(tmp_path / "empty"))


def test_asking_a_service_loads_nothing_heavy(folder: Path, address: str) -> None:
    told = (
        "import sys; from app.cli import main; status = main(sys.argv[1:]); "
        "print(*sorted({'torch', 'faiss', 'pymatgen'} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", told, "predict", str(folder / "a.json"), "--url", address]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "C " in run.stdout
    assert run.stderr.splitlines()[-1] == ""
