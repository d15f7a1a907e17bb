"""What is installed: three top-level packages, with every data file, and one command."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.paths import ROOT

PACKAGES = ("app", "index", "model")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    built = next(
        WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    )
    return zipfile.ZipFile(built)


def test_holds_three_top_level_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_leaves_no_file_of_a_package_behind(wheel: zipfile.ZipFile, package: str) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*") if path.is_file()}
    required = {name for name in files if "__pycache__" not in name}
    assert required
    assert required <= set(wheel.namelist())


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [("model/pretrained/", ".safetensors"), ("model/pretrained/", ".json"), ("app/web/", ".html")],
)
def test_carries_the_data_that_the_service_needs(wheel: zipfile.ZipFile, folder: str, suffix: str) -> None:
    assert [name for name in wheel.namelist() if name.startswith(folder) and name.endswith(suffix)]


def test_declares_the_command(wheel: zipfile.ZipFile) -> None:
    (declared,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "dd2d = app.cli.main:main" in wheel.read(declared).decode().splitlines()


def test_the_installed_command_tells_its_version_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "raise SystemExit('a stray file of the working directory was imported')\n"
    )
    result = subprocess.run(
        [Path(sys.executable).with_name("dd2d"), "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip()
