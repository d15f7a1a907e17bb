"""The code keeps its shape: short functions and modules, small folders, and one class for each name."""

import ast
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

PACKAGES = ("app", "index", "model")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FUNCTION_LINES, MAX_P90_FUNCTION_LINES, MAX_MEDIAN_FUNCTION_LINES = 60, 22, 7
MAX_MODULE_LINES = 320
MAX_MODULES_IN_A_FOLDER = 16


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_class_name_is_defined_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    assert len(places) > 100
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def measure_functions(path: Path) -> dict[str, int]:
    """Return the lines of each function of a module, from `def` to its end, by name and first line."""
    return {
        f"{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_and_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES
    lengths = measure_functions(path)
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_most_functions_are_very_short() -> None:
    lengths = [lines for path in MODULES for lines in measure_functions(path).values()]
    assert len(lengths) > 1000
    assert np.median(lengths) <= MAX_MEDIAN_FUNCTION_LINES
    assert np.quantile(lengths, 0.9) <= MAX_P90_FUNCTION_LINES


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_are_small(package: str) -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in (ROOT / package).rglob("*.py"):
        counts[name_of(path.parent)] += path.name != "__init__.py"
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES_IN_A_FOLDER} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_nothing_by_themselves(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        statements = ast.parse(path.read_text(encoding="utf-8")).body
        assert all(isinstance(node, ast.Expr) for node in statements), name_of(path)
