"""The training loop: contrastive learning for a given time, with checkpoints to resume from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.atomic_files import replace_file
from model.errors import OptionError
from model.stopwatch import Stopwatch
from model.towers.contrastive import TowerSize, TwinTowers, contrastive_loss
from model.towers.tokens import CrystalBatch, PatternBatch
from model.towers.workers import BatchPart, Workers, gather_vectors, split_batch
from model.training.augmentation import FIXED, QUIET, REALISTIC, TRAINING
from model.training.dataset import Dataset, order_by_neighborhood, sample_at_most
from model.training.optimizer import build_optimizers
from model.training.pool import PERFECT_DRAW
from model.training.ranking import rank_truth
from model.training.schedule import Schedule
from model.training.split import SplitPart

Index = NDArray[np.int64]

VALIDATION_SEED = 12345
VALIDATION_QUERIES = 1000
VALIDATION_DISTRACTORS = 4000
PART_SAMPLES = 48
LAST_STATE = "last.pt"


@dataclass
class TrainingProgress:
    """State of a run, saved in the checkpoint."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    elapsed_s: float = 0.0
    pairs: int = 0
    best_top1: float = -1.0
    stale: int = 0
    order: Index = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def pairs_per_s(self) -> float:
        """Pairs per second over the whole run so far."""
        return round(self.pairs / max(self.elapsed_s, 1e-9), 1)


def check_run_folder(out: Path, resume: bool) -> None:
    """Check that a folder holds a run if and only if it is to be resumed.

    Raises:
        OptionError: it does not.
    """
    if (out / LAST_STATE).exists() and not resume:
        raise OptionError(
            f"{out} already contains a training run; give --resume to continue it, or another --out."
        )
    if resume and not (out / LAST_STATE).exists():
        raise OptionError(f"{out} contains no training run to resume; omit --resume, or give another --out.")


class Trainer:
    """One training run in one folder, which contains its log, its last state and its best weights.

    Args:
        dataset: the training data.
        initial: size of new towers, or trained towers to start from.
        schedule: duration, learning rate and content of the steps.
        out: folder of the run.
        resume: whether to continue the run in the folder.

    Raises:
        OptionError: there are too few crystals; `resume` does not fit the folder; or the run in the folder has other
            data or other towers.
    """

    def __init__(
        self,
        dataset: Dataset,
        initial: TowerSize | TwinTowers,
        schedule: Schedule,
        out: Path,
        *,
        resume: bool = False,
    ) -> None:
        check_run_folder(out, resume)
        torch.manual_seed(schedule.seed)
        self.dataset, self.schedule, self.out = dataset, schedule, out
        self.towers = initial if isinstance(initial, TwinTowers) else TwinTowers(initial)
        self.parameters = list(self.towers.parameters())
        self.optimizers = build_optimizers(self.towers, schedule.rate)
        self.workers = Workers(schedule.workers)
        self.rng = np.random.default_rng(schedule.seed)
        self.train_rows = np.array(dataset.parts[SplitPart.TRAIN])
        self.formulas = [dataset.crystals[row].formula for row in self.train_rows]
        epoch_crystals = len(sample_at_most(self.formulas, schedule.per_formula, self.rng))
        if epoch_crystals < schedule.batch:
            raise OptionError(
                f"A batch of {schedule.batch} exceeds the {epoch_crystals} training crystals of an epoch (at most "
                f"{schedule.per_formula} of one formula); give a smaller batch."
            )
        if not dataset.parts[SplitPart.VALIDATION]:
            raise OptionError(
                "The split leaves no crystal for validation; give more crystals or another seed."
            )
        self.bank = torch.zeros(len(dataset.crystals), self.towers.size.dimension)
        self.progress = TrainingProgress()
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load_state()

    def run(self) -> None:
        """Train until the time is used up or the validation accuracy stops improving."""
        budget = self.schedule.minutes * 60
        next_evaluation = self.progress.elapsed_s + self.schedule.evaluate_minutes * 60
        while self.progress.elapsed_s < budget and self.progress.stale < self.schedule.patience:
            watch = Stopwatch()
            loss = self._train_step(self._next_batch())
            self.progress.elapsed_s += watch.total_seconds
            if self.progress.step % 50 == 0:
                self._log({"loss": round(loss, 4)})
            if self.progress.elapsed_s >= min(next_evaluation, budget):
                self._validate()
                self._save_state()
                next_evaluation = self.progress.elapsed_s + self.schedule.evaluate_minutes * 60

    def _next_batch(self) -> Index:
        """Return the rows of the next batch; an epoch that is used up is followed by a new order."""
        progress, batch = self.progress, self.schedule.batch
        if progress.place + batch > len(progress.order):
            if len(progress.order):
                progress.epoch += 1
            hard = self._time_fraction() >= self.schedule.neighborhoods_from
            order = self.train_rows[sample_at_most(self.formulas, self.schedule.per_formula, self.rng)]
            if hard:
                order = order[order_by_neighborhood(self.bank[order], self.schedule.leaf, self.rng)]
            progress.order, progress.place = order, 0
        rows = progress.order[progress.place : progress.place + batch]
        progress.place += batch
        return rows

    def _train_step(self, rows: Index) -> float:
        rate = self.schedule.compute_rate(self.progress.step, self.progress.elapsed_s)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        self.towers.train()
        parts = self._draw_parts(rows)
        encoded = self.workers.encode(parts)
        # The loss needs all vectors at once, so its gradient is taken here and passed on part by part.
        vectors = gather_vectors(parts, encoded)
        self.towers.zero_grad(set_to_none=True)
        loss = self._compute_loss(torch.from_numpy(rows), vectors.requires_grad_())
        loss.backward()  # type: ignore[no-untyped-call]
        assert vectors.grad is not None
        self.workers.add_gradients(encoded, [vectors.grad[part.rows] for part in parts], self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.bank[torch.from_numpy(rows)] = vectors.detach()[: len(rows)]
        self.progress.step += 1
        self.progress.pairs += len(rows) * self.schedule.views
        return float(loss.detach())

    def _draw_parts(self, rows: Index) -> list[BatchPart]:
        """Split the crystals, and a pattern of each for every view, into parts for the threads."""
        schedule, count = self.schedule, len(rows)
        crystals = self.dataset.tokens.select(torch.from_numpy(rows))
        views = [self._draw_view(rows) for _ in range(schedule.views)]
        if self._time_fraction() < schedule.short:
            crystals = crystals.truncate(schedule.short_pairs)
            views = [view.truncate(schedule.short_pairs) for view in views]
        parts = split_batch(self.towers.embed_crystals, crystals, PART_SAMPLES)
        if self.towers.size.form == "physics":
            hidden = self.rng.random(len(parts)) < schedule.atoms_hidden
            parts = [
                replace(part, batch=part.batch.drop_atoms())
                if hide and isinstance(part.batch, CrystalBatch)
                else part
                for part, hide in zip(parts, hidden, strict=True)
            ]
        for place, view in enumerate(views, start=1):
            parts += split_batch(self.towers.embed_patterns, view, PART_SAMPLES, first=place * count)
        return parts

    def _draw_view(self, rows: Index) -> PatternBatch:
        """Draw a pattern of each crystal, all from one kind of instrument."""
        if self.schedule.regime == "paper":
            return self.dataset.draw_patterns(rows, FIXED, self.rng)
        if self.rng.random() >= self.schedule.quiet:
            return self.dataset.draw_patterns(rows, TRAINING, self.rng)
        draw = PERFECT_DRAW if self.rng.random() < self.schedule.perfect else None
        return self.dataset.draw_patterns(rows, QUIET, self.rng, draw)

    def _compute_loss(self, index: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the views."""
        groups = torch.from_numpy(self.dataset.duplicates)
        same = groups[index][:, None] == groups[index]
        crystals, *views = torch.split(vectors, len(index))
        scale = self.towers.inverse_temperature()
        return torch.stack([contrastive_loss(view, crystals, same, scale) for view in views]).mean()

    def _time_fraction(self) -> float:
        return self.progress.elapsed_s / (60 * self.schedule.minutes)

    def _validate(self) -> None:
        """Search validation crystals among all of them and a sample of the training crystals; keep the best weights."""
        self.towers.eval()
        held_out, rng = (
            np.array(self.dataset.parts[SplitPart.VALIDATION]),
            np.random.default_rng(VALIDATION_SEED),
        )
        gallery = np.concatenate([held_out, rng.permutation(self.train_rows)[:VALIDATION_DISTRACTORS]])
        queries = rng.choice(held_out, min(VALIDATION_QUERIES, len(held_out)), replace=False)
        tokens = self.dataset.tokens.select(torch.from_numpy(gallery))
        crystal_vectors = self.workers.embed(split_batch(self.towers.embed_crystals, tokens, PART_SAMPLES))
        instrument = REALISTIC if self.schedule.regime == "library" else FIXED
        patterns = self.dataset.draw_patterns(queries, instrument, rng)
        pattern_vectors = self.workers.embed(split_batch(self.towers.embed_patterns, patterns, PART_SAMPLES))
        groups = self.dataset.duplicates
        ranks = rank_truth(pattern_vectors.numpy(), crystal_vectors.numpy(), groups[queries], groups[gallery])
        figures = {f"top{k}": round(float((ranks < k).mean()), 4) for k in (1, 10, 100)}
        self._log({"validation": figures})
        if figures["top1"] > self.progress.best_top1:
            self.progress.best_top1, self.progress.stale = figures["top1"], 0
            _write_state(
                self.out / "best.pt",
                {"shape": self.towers.size.to_json(), "weights": self.towers.state_dict()},
            )
        else:
            self.progress.stale += 1

    def _log(self, figures: dict[str, object]) -> None:
        progress, schedule = self.progress, self.schedule
        line = {
            "step": progress.step,
            "epoch": progress.epoch,
            "elapsed_s": round(progress.elapsed_s, 1),
            "left_s": round(max(schedule.minutes * 60 - progress.elapsed_s, 0), 1),
            "pairs_per_s": progress.pairs_per_s,
            "scale": round(float(self.towers.inverse_temperature().detach()), 2),
        } | figures
        with (self.out / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _save_state(self) -> None:
        state = {
            "shape": self.towers.size.to_json(),
            "data": self.dataset.compute_digest(),
            "schedule": asdict(self.schedule),
            "weights": self.towers.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "bank": self.bank,
            "progress": asdict(self.progress) | {"order": torch.from_numpy(self.progress.order)},
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
        }
        _write_state(self.out / LAST_STATE, state)

    def _load_state(self) -> None:
        try:
            state = torch.load(self.out / LAST_STATE, weights_only=True)
        except Exception as error:  # zipfile, torch and the restricted unpickler raise errors of their own
            raise OptionError(
                f"The training run in {self.out} cannot be resumed because it is damaged or was written by another "
                "version; give another --out."
            ) from error
        if state["data"] != self.dataset.compute_digest() or state["shape"] != self.towers.size.to_json():
            raise OptionError(
                f"The training run in {self.out} uses different crystals, a different split or different towers; "
                "give another --out."
            )
        self.towers.load_state_dict(state["weights"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.bank, progress = state["bank"], state["progress"]
        self.progress = TrainingProgress(**progress | {"order": progress["order"].numpy()})
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])


def _write_state(path: Path, state: Mapping[str, object]) -> None:
    with replace_file(path) as temporary:
        torch.save(state, temporary)
