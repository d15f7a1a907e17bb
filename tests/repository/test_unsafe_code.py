"""Nothing that the packages read can run code: no pickle in any form, no evaluated text."""

import ast
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

FILES = sorted(
    path for package in ("app", "index", "model", "bench") for path in (ROOT / package).rglob("*.py")
)
MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
CALLS = {"eval", "exec", "compile"}


def unsafe(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from unsafe_call(node)


def unsafe_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {each.arg: ast.unparse(each.value) for each in node.keywords}
    if name in CALLS:
        yield name
    if given.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if name.endswith(("read_pickle", "yaml.load", "yaml.unsafe_load")):
        yield name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, marshal",
        "from shelve import open",
        "def f():\n from cloudpickle import loads",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "pd.read_pickle(p)",
        "eval(text)",
    ],
)
def test_what_could_run_code_is_found(source: str) -> None:
    assert list(unsafe(source))


@pytest.mark.parametrize(
    "source",
    ["np.load(p)", "np.load(p, allow_pickle=False)", "torch.load(p, weights_only=True)", "re.compile(p)"],
)
def test_what_cannot_is_not(source: str) -> None:
    assert not list(unsafe(source))


def test_nothing_that_is_read_can_run_code() -> None:
    assert len(FILES) > 100
    found = {path.relative_to(ROOT).as_posix(): list(unsafe(path.read_text("utf-8"))) for path in FILES}
    assert {path: each for path, each in found.items() if each} == {}
