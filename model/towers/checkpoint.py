"""Trained towers on disk: `towers.safetensors` and its description `towers.json`, identified by a digest of both."""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from model.atomic_files import write_file
from model.errors import CheckpointError
from model.towers.contrastive import TowerSize, TwinTowers
from model.towers.encoder import Towers

WEIGHTS, CARD = "towers.safetensors", "towers.json"
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
FORMAT = 1


def save_towers(towers: TwinTowers, directory: Path, training: dict[str, object]) -> None:
    """Write the weights and their description; existing files are replaced atomically.

    Args:
        towers: towers to save; tensors that both share are stored once.
        directory: folder, created if missing.
        training: description of the training (data, split, time).
    """
    directory.mkdir(parents=True, exist_ok=True)
    card = {"format": FORMAT, "shape": towers.size.to_json(), "training": training}
    write_file(directory / CARD, (json.dumps(card, indent=2) + "\n").encode())
    with TemporaryDirectory() as folder:  # save_model writes files that only their owner may read
        weights = Path(folder) / WEIGHTS
        safetensors.torch.save_model(towers, str(weights))
        write_file(directory / WEIGHTS, weights.read_bytes())


def load_towers(directory: Path | None = None) -> Towers:
    """Load trained towers, by default those that come with the package.

    Raises:
        CheckpointError: files are missing, damaged or do not match each other.
    """
    directory = directory or PRETRAINED
    network, digest, training = read_network(directory)
    return Towers(network, digest, training, [directory / CARD, directory / WEIGHTS])


def read_network(directory: Path) -> tuple[TwinTowers, str, dict[str, Any]]:
    """Return the network in a folder, its digest, and how it was trained; CheckpointError as `load_towers`."""
    try:
        contents = [(directory / name).read_bytes() for name in (CARD, WEIGHTS)]
    except OSError as error:
        raise CheckpointError(
            f"There are no trained towers in {directory}: {error.strerror}; give a folder with {WEIGHTS}."
        ) from error
    try:
        card = json.loads(contents[0])
        towers, training = TwinTowers(TowerSize(**card["shape"])), dict(card["training"])
        safetensors.torch.load_model(towers, directory / WEIGHTS)
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"The towers in {directory} are damaged, or {WEIGHTS} and {CARD} do not match each other: {error}"
        ) from error
    return towers, f"sha256:{hashlib.sha256(b''.join(contents)).hexdigest()}", training
