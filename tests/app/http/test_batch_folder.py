"""The files of batches: on a full disk, and after a service was killed."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.http.batch_folder import make_batch_folder, remove_abandoned_folders
from app.main import create_app
from app.settings import Settings
from tests.app.answers import problem_of
from tests.app.stand_in import StandIn
from tests.paths import ROOT

LARGE = b"x" * 2 * 2**20  # above the size up to which the parser keeps a file in memory
HOLDER = """
import os, sys
from app.http.batch_folder import make_batch_folder
with make_batch_folder() as folder:
    (folder / "0").write_bytes(b"data")
    print(folder, flush=True)
    sys.stdin.read(1)
    os._exit(9)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def another_service(temporary: Path) -> Any:
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def fail(error: OSError) -> Callable[..., Any]:
    def raise_error(*_: Any, **__: Any) -> Any:
        raise error

    return raise_error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    "place", ["tempfile.mkdtemp", "pathlib.Path.touch", "app.http.save_files._FileOnDisk._append"]
)
def test_a_full_disk_is_a_503_that_says_when_to_retry(
    library: StandIn, temporary: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    """While making the folder, while making a file, while writing to it."""
    with TestClient(create_app(Settings(), library)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(place, fail(OSError(number, os.strerror(number), str(temporary))))
            response = client.post("/predict/batch", files=[("file", ("a.tif", LARGE))])
        detail = problem_of(response, 503)
        assert "disk for temporary files is full" in detail
        assert str(temporary) not in detail
        assert response.headers["retry-after"] == "1"
        assert list(temporary.iterdir()) == []
        assert client.post("/predict/batch", files=[("file", ("a.tif", LARGE))]).status_code == 200


def test_what_a_killed_service_left_is_removed_at_the_next_start(
    another_service: "subprocess.Popen[str]", library: StandIn, temporary: Path
) -> None:
    assert another_service.stdout is not None
    left = Path(another_service.stdout.readline().strip())
    assert left.parent == temporary
    with make_batch_folder() as own:
        assert remove_abandoned_folders() == 0
        another_service.communicate("x")
        with TestClient(create_app(Settings(), library)):
            assert list(temporary.iterdir()) == [own]


def test_only_own_folders_are_removed(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (temporary / "dd2d-batch-link").symlink_to(elsewhere)
    (temporary / "dd2d-batch-file").touch()
    (temporary / "dd2d-other").mkdir()
    (temporary / "dd2d-batch-foreign").mkdir()
    before = sorted(temporary.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: 12345)
        assert remove_abandoned_folders() == 0
    assert sorted(temporary.iterdir()) == before
    assert remove_abandoned_folders() == 1
    assert sorted(temporary.iterdir()) == [each for each in before if each.name != "dd2d-batch-foreign"]
    assert elsewhere.exists()


def test_a_new_folder_survives_a_service_that_starts_before_it_is_locked(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp
    starts = [True, True]

    def make_and_start(**options: str) -> str:
        folder = make(**options)
        if starts:
            starts.pop()
            assert remove_abandoned_folders() == 1
        return folder

    monkeypatch.setattr("tempfile.mkdtemp", make_and_start)
    with make_batch_folder() as folder:
        assert list(temporary.iterdir()) == [folder]
        assert remove_abandoned_folders() == 0
    assert list(temporary.iterdir()) == []
