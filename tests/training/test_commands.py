"""`dd2d train` and `dd2d evaluate` as a user runs them."""

import json
from pathlib import Path

import pytest
import safetensors.torch
from torch import Tensor

from app.cli.main import main
from model.towers.checkpoint import WEIGHTS
from tests.index.layers import document, write_lines


def load(path: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
    return weights


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("data") / "made.jsonl", (document(i) for i in range(32)))


@pytest.fixture(scope="module")
def towers(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    words = ["train", "--data", str(source), "--out", str(out), "--minutes", "0.02", "--batch", "8"]
    assert main([*words, "--draws", "2", "--views", "1"]) == 0
    return out / "towers"


def test_the_weights_state_their_training(towers: Path) -> None:
    training = json.loads((towers / "towers.json").read_text())["training"]
    assert training["crystals"] == 32
    assert training["sources"] == {"made": 32}
    assert sum(training["split"].values()) == 32
    assert training["pairs"] > 0


@pytest.mark.parametrize("protocol", ["library", "clean", "paper"])
def test_each_protocol_prints_rows_and_json(
    protocol: str, source: Path, towers: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["evaluate", "--data", str(source), "--model", str(towers), "--protocol", protocol]
    assert main([*words, "--source", "made", "--out", str(tmp_path / "rows.json")]) == 0
    printed = capsys.readouterr().out
    assert "| top-1 |" in printed
    report = json.loads((tmp_path / "rows.json").read_text())
    assert report["protocol"] == protocol
    assert json.loads(printed.splitlines()[-1]) == report
    assert all(0 <= row["top1"] <= row["top100"] <= 1 for row in report["rows"])


def test_training_continues_from_given_weights(source: Path, towers: Path, tmp_path: Path) -> None:
    words = ["train", "--data", str(source), "--out", str(tmp_path), "--draws", "1", "--batch", "8"]
    assert main([*words, "--start", str(towers), "--minutes", "0.001", "--rate", "1e-12"]) == 0
    begun, ended = (load(folder / WEIGHTS) for folder in (towers, tmp_path / "towers"))
    assert begun.keys() == ended.keys()
    assert all(begun[name].allclose(ended[name], atol=1e-6) for name in begun)
    before, after = (
        json.loads((folder / "towers.json").read_text())["training"]
        for folder in (towers, tmp_path / "towers")
    )
    assert [stage["pairs"] for stage in after["stages"]] == [
        before["pairs"],
        after["pairs"] - before["pairs"],
    ]


def test_a_run_is_resumed_only_on_request(
    source: Path, towers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", str(source), "--minutes", "0.02", "--batch", "8", "--draws", "2"]
    before = json.loads((towers / "towers.json").read_text())["training"]
    assert main([*words, "--out", str(towers.parent)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path), "--resume"]) == 2
    assert "no training run" in capsys.readouterr().err
    assert main([*words, "--out", str(towers.parent), "--resume"]) == 0
    after = json.loads((towers / "towers.json").read_text())["training"]
    assert after["pairs"] >= before["pairs"]


def test_rejects_initial_weights_of_another_split(
    source: Path, towers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", str(source), "--out", str(tmp_path), "--draws", "1", "--batch", "8"]
    assert main([*words, "--start", str(towers), "--seed", "1"]) == 2
    assert "another split" in capsys.readouterr().err


def test_rejects_a_batch_larger_than_the_data(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", str(source), "--out", str(tmp_path), "--batch", "1000", "--draws", "1"]
    assert main([*words, "--minutes", "1"]) == 2
    assert "1000" in capsys.readouterr().err


def test_rejects_towers_without_a_stated_split(
    source: Path, towers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((towers / "towers.json").read_text())
    (tmp_path / "towers.json").write_text(json.dumps(card | {"training": {}}))
    (tmp_path / WEIGHTS).write_bytes((towers / WEIGHTS).read_bytes())
    assert main(["evaluate", "--data", str(source), "--model", str(tmp_path)]) == 2
    assert "split" in capsys.readouterr().err
