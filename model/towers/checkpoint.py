"""Trained towers on disk: `towers.safetensors` and `towers.json` beside it, named by a digest of both."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from model.atomic_files import write_file
from model.errors import CheckpointError
from model.towers.contrastive import TowerSize, TwinTowers
from model.towers.encoder import Towers

WEIGHTS, CARD = "towers.safetensors", "towers.json"
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
FORMAT = 1


def save_towers(towers: TwinTowers, directory: Path, training: dict[str, object]) -> None:
    """Write weights and their description, each by rename.

    Args:
        towers: what to save; tensors shared by both towers are stored once.
        directory: made if absent.
        training: how they were made (data, split, time), kept in the description.
    """
    directory.mkdir(parents=True, exist_ok=True)
    card = {"format": FORMAT, "shape": towers.shape.to_json(), "training": training}
    write_file(directory / CARD, (json.dumps(card, indent=2) + "\n").encode())
    write_file(directory / WEIGHTS, safetensors.torch.save(_stored_once(towers)))


def load_towers(directory: Path | None = None) -> Towers:
    """Read trained towers, by default the ones shipped with the package.

    Raises:
        CheckpointError: files are missing, damaged, or of another form than they say.
    """
    return Towers(*read_network(directory or PRETRAINED))


def read_network(directory: Path) -> tuple[TwinTowers, str, dict[str, Any]]:
    """The network in a folder, its digest, and how it was trained; errors as of `load_towers`."""
    try:
        card_bytes, weight_bytes = (directory / CARD).read_bytes(), (directory / WEIGHTS).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"no trained towers in {directory}: {error.strerror}; give a folder with {WEIGHTS}"
        ) from error
    try:
        card = json.loads(card_bytes)
        towers, training = TwinTowers(TowerSize(**card["shape"])), dict(card["training"])
        missing, unexpected = towers.load_state_dict(safetensors.torch.load(weight_bytes), strict=False)
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the towers in {directory} are damaged: {error}") from error
    if set(missing) - _aliases(towers) or unexpected:
        raise CheckpointError(f"the weights in {directory} are of another form than {CARD} says")
    digest = hashlib.sha256(card_bytes + weight_bytes).hexdigest()
    return towers, f"sha256:{digest}", training


def _stored_once(towers: TwinTowers) -> dict[str, Tensor]:
    aliases = _aliases(towers)
    return {name: value.contiguous() for name, value in towers.state_dict().items() if name not in aliases}


def _aliases(towers: TwinTowers) -> set[str]:
    """Names under which a tensor appears a second time, because both towers share it."""
    seen: set[int] = set()
    aliases = set()
    for name, value in towers.state_dict(keep_vars=True).items():
        if id(value) in seen:
            aliases.add(name)
        seen.add(id(value))
    return aliases
