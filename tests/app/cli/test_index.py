"""`dd2d index` publishes, lists and rolls back versions of an index."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.main import main
from index.build.build import build_index
from index.storage.versions import find_version_folder
from tests.index.layers import document, write_lines
from tests.index.stand_in import RadialEncoder


@pytest.fixture
def built(tmp_path: Path) -> list[str]:
    """Build two indexes, of one and of two crystals; the second with other weights."""
    encoder = RadialEncoder()
    for count, made in enumerate((encoder, replace(encoder, digest="sha256:" + "cd" * 32)), start=1):
        source = write_lines(tmp_path / f"source {count}", [document(i) for i in range(count)])
        build_index([source], tmp_path / f"built {count}", made)
    return [str(tmp_path / f"built {count}") for count in (1, 2)]


def test_versions_are_published_listed_and_rolled_back(
    tmp_path: Path, built: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    served = tmp_path / "served"
    for each in built:
        assert main(["index", "publish", each, "--to", str(served)]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[1] == f"{served} now uses {find_version_folder(served).name} (2 crystals)."
    assert output.err.count("different weights from") == 1
    assert main(["index", "versions", str(served)]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["*", find_version_folder(served).name]
    assert (first.split()[-1], second.split()[-1]) == ("2", "1")
    assert main(["index", "rollback", str(served)]) == 0
    assert find_version_folder(served).name == second.split()[0]
    assert main(["index", "rollback", str(served), first.split()[1]]) == 0
    assert find_version_folder(served).name == first.split()[1]
    capsys.readouterr()
    assert main(["index", "rollback", str(served), "absent"]) == 2
    assert "There is no version 'absent'" in capsys.readouterr().err


def test_an_index_that_cannot_be_published_is_refused(
    tmp_path: Path, built: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "publish", str(tmp_path), "--to", str(tmp_path / "served")]) == 2
    assert main(["index", "publish", built[0], "--to", str(tmp_path)]) == 2
    assert main(["index", "versions", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "contains no index" in errors[0]
    assert "contains other files" in errors[1]
