"""Train towers on a library of crystals, from the split to the saved weights."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.towers.checkpoint import read_network, save_towers
from model.towers.contrastive import TOWER_SIZES, Form, TowerSize, TwinTowers
from model.training.dataset import Dataset
from model.training.loop import Trainer, check_run_folder
from model.training.schedule import Schedule
from model.training.split import read_split_settings

TOWERS_FOLDER = "towers"


@dataclass(frozen=True)
class Stage:
    """One run of training. Towers that continue from others have several stages.

    Attributes:
        regime: kind of patterns.
        minutes: training time.
        pairs: pairs of pattern and crystal.
        pairs_per_s: their rate.
        validation_top1: top-1 accuracy of the best weights.
    """

    regime: str
    minutes: float
    pairs: int
    pairs_per_s: float
    validation_top1: float


def train_towers(
    crystals: Sequence[Crystal],
    schedule: Schedule,
    out: Path,
    *,
    form: Form = "physics",
    start: Path | None = None,
    held_out: set[str],
    draws: int = 24,
    cache: Path | None = None,
    resume: bool = False,
) -> Path:
    """Train towers and save those with the best validation accuracy.

    Args:
        crystals: the library; it is split by formula with the seed of the schedule.
        schedule: duration and rates.
        out: folder of the run.
        form: of new towers.
        start: trained towers to continue from, instead of new ones.
        held_out: reduced formulas that belong to the test part.
        draws: simulated conditions for each crystal.
        cache: folder of the simulated patterns; inside `out` if None.
        resume: whether to continue the run in `out`.

    Returns:
        The folder of the saved towers.

    Raises:
        OptionError: `out` holds a run and `resume` is False, or the reverse; or the towers in `start` were trained on
            another split.
    """
    check_run_folder(out, resume)
    initial, stages = _choose_initial_towers(form, start, schedule.seed, held_out)
    dataset = Dataset.build(
        crystals,
        draws=draws,
        seed=schedule.seed,
        held_out=held_out,
        cache=cache or out / "cache",
        regime=schedule.regime,
    )
    trainer = Trainer(dataset, initial, schedule, out, resume=resume)
    trainer.run()
    towers = TwinTowers(trainer.towers.size)
    towers.load_state_dict(torch.load(out / "best.pt", weights_only=True)["weights"])
    stages = [*stages, _describe_stage(trainer)]
    save_towers(towers, out / TOWERS_FOLDER, _describe_training(dataset, schedule.seed, held_out, stages))
    return out / TOWERS_FOLDER


def _choose_initial_towers(
    form: Form, start: Path | None, seed: int, held_out: set[str]
) -> tuple[TowerSize | TwinTowers, list[dict[str, Any]]]:
    """Return the size of new towers, or trained towers and the stages of their training."""
    if start is None:
        return TOWER_SIZES[form], []
    network, _, training = read_network(start)
    if read_split_settings(training) != (seed, held_out):
        raise OptionError(
            f"The towers in {start} were trained on another split, which may include the test crystals; "
            "give the --seed and --hold-out of their training."
        )
    return network, list(training.get("stages", []))


def _describe_stage(trainer: Trainer) -> dict[str, Any]:
    progress = trainer.progress
    return asdict(
        Stage(
            regime=trainer.schedule.regime,
            minutes=round(progress.elapsed_s / 60, 1),
            pairs=progress.pairs,
            pairs_per_s=progress.pairs_per_s,
            validation_top1=progress.best_top1,
        )
    )


def _describe_training(
    dataset: Dataset, seed: int, held_out: set[str], stages: Sequence[dict[str, Any]]
) -> dict[str, object]:
    """Describe the training for the file saved with the weights."""
    sources = sorted({crystal.source for crystal in dataset.crystals})
    return {
        "crystals": len(dataset.crystals),
        "sources": {name: sum(crystal.source == name for crystal in dataset.crystals) for name in sources},
        "split": {part.value: len(rows) for part, rows in dataset.parts.items()},
        "split_seed": seed,
        "held_out": sorted(held_out),
        "minutes": round(sum(stage["minutes"] for stage in stages), 1),
        "pairs": sum(stage["pairs"] for stage in stages),
        "stages": list(stages),
    }
