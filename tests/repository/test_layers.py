"""The lower layers stay free of heavy libraries at run time; import-linter holds the same in the source."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "faiss", "fastapi")
LOADED = (
    "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1].split()]; print(*sys.modules)"
)


def modules_loaded_by(*modules: str) -> set[str]:
    run = [sys.executable, "-c", LOADED, " ".join(modules)]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_crystal_pattern_and_physics_load_no_heavy_library() -> None:
    loaded = modules_loaded_by("model.errors", "model.crystal", "model.pattern", "model.physics")
    assert "model.physics" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("package", ["model.towers", "model.training"])
def test_the_model_knows_neither_index_nor_service(package: str) -> None:
    loaded = modules_loaded_by(package)
    assert package in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"app", "index", "faiss", "fastapi"}}


def test_the_index_does_not_know_the_service() -> None:
    loaded = modules_loaded_by("index.search.retriever", "index.build.build")
    assert "index.search.retriever" in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"app", "fastapi", "uvicorn"}}
