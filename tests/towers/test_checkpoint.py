"""Weights on disk: they reproduce the vectors, and damaged files are rejected."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.crystal.crystal import Crystal
from model.errors import CheckpointError
from model.towers.checkpoint import CARD, PRETRAINED, WEIGHTS, load_towers, save_towers
from model.towers.contrastive import FORMS, Form, TowerSize, TwinTowers
from model.towers.encoder import Towers
from tests.changed_bits import flip_bit


def network(form: Form = "physics") -> TwinTowers:
    torch.manual_seed(1)
    return TwinTowers(TowerSize(form, width=24, layers=1, heads=3, dimension=16))


@pytest.mark.parametrize("form", FORMS)
def test_loads_what_was_saved(form: Form, tmp_path: Path, crystals: list[Crystal]) -> None:
    saved = network(form)
    save_towers(saved, tmp_path, {"minutes": 1})
    loaded = load_towers(tmp_path)
    assert loaded.form == form
    np.testing.assert_allclose(
        loaded.embed_crystals(crystals), Towers(saved, "").embed_crystals(crystals), atol=1e-6
    )
    assert json.loads((tmp_path / CARD).read_text())["training"] == {"minutes": 1}


def test_shared_tensors_are_stored_once(tmp_path: Path) -> None:
    save_towers(network(), tmp_path, {})
    stored = safetensors.torch.load((tmp_path / WEIGHTS).read_bytes())
    size = sum(tensor.numel() for tensor in stored.values())
    assert size == sum(parameter.numel() for parameter in network().parameters())


def test_the_digest_names_weights_and_description(tmp_path: Path) -> None:
    save_towers(network(), tmp_path, {"minutes": 1})
    first = load_towers(tmp_path).digest
    assert first == load_towers(tmp_path).digest
    save_towers(network(), tmp_path, {"minutes": 2})
    assert load_towers(tmp_path).digest != first
    assert first.startswith("sha256:")


def test_rejects_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load_towers(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (WEIGHTS, b"no weights"),
        (CARD, b"{"),
        (CARD, b"[]"),
        (CARD, b'{"shape": {"form": "cubic"}}'),
        (CARD, b'{"shape": {"heads": 0}, "training": {}}'),
        (CARD, b'{"shape": {"feed": 0}, "training": {}}'),
        (CARD, b'{"shape": {"layers": "4"}, "training": {}}'),
        (
            CARD,
            b'{"shape": {"form": "physics", "width": 48, "layers": 1, "heads": 3, "dimension": 16}, "training": {}}',
        ),
        (
            CARD,
            b'{"shape": {"form": "sequence", "width": 24, "layers": 1, "heads": 3, "dimension": 16}, "training": {}}',
        ),
    ],
)
def test_rejects_damaged_towers(name: str, content: bytes, tmp_path: Path) -> None:
    save_towers(network(), tmp_path, {})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        load_towers(tmp_path)


def test_the_shipped_weights_are_small_and_described() -> None:
    files = [path for path in PRETRAINED.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert {WEIGHTS, CARD, "README.md"} <= {path.name for path in files}
    assert load_towers().form == "physics"


@given(place=st.floats(0.0, 1.0, exclude_max=True), name=st.sampled_from([WEIGHTS, CARD]))
@settings(max_examples=60)
def test_weights_with_a_changed_bit_are_refused_or_have_another_digest(
    tmp_path_factory: pytest.TempPathFactory, place: float, name: str
) -> None:
    """An index refuses weights of another digest than its own."""
    folder = tmp_path_factory.mktemp("towers")
    save_towers(network(), folder, {"minutes": 1})
    towers = load_towers(folder)
    assert list(towers.check_integrity())
    flip_bit(folder / name, place)
    with pytest.raises(CheckpointError, match=WEIGHTS):
        list(towers.check_integrity())
    with suppress(CheckpointError):
        assert load_towers(folder).digest != towers.digest


def test_a_changed_bit_of_the_weights_in_memory_is_found(tmp_path: Path) -> None:
    saved = network()
    save_towers(saved, tmp_path, {})
    towers = Towers(saved, load_towers(tmp_path).digest, {}, [tmp_path / CARD, tmp_path / WEIGHTS])
    list(towers.check_integrity())
    for name, tensor in saved.named_parameters():
        content = tensor.detach().view(-1).view(torch.uint8)
        content[len(content) // 2] ^= 1
        with pytest.raises(CheckpointError, match=f"{name} have changed in memory"):
            list(towers.check_integrity())
        content[len(content) // 2] ^= 1
    list(towers.check_integrity())
