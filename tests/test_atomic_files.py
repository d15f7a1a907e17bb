"""A file is replaced whole, with the requested permissions, or not at all."""

import errno
import os
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest

from model.atomic_files import make_temporary_path, replace_file, write_file
from model.errors import StorageFullError


def test_the_new_content_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old and longer", b"new"):
        write_file(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_an_error_keeps_the_old_content_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replace_file(path) as temporary:
            temporary.write_bytes(b"half of the")
            raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        write_half()
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("place", ["os.open", "pathlib.Path.write_bytes", "os.fsync"])
def test_a_full_disk_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(place, Mock(side_effect=OSError(number, os.strerror(number))))
        with pytest.raises(StorageFullError, match="disk is full"):
            write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_permissions_are_the_requested_ones_whatever_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    make_temporary_path(path).write_bytes(b"left behind")
    make_temporary_path(path).chmod(0o644)
    write_file(path, b"secret", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    mask = os.umask(0o022)
    try:
        write_file(path, b"public")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
