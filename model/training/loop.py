"""The training loop: contrastive, timed, resumable."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.towers.contrastive import LibraryNegatives, Shape, TwinTowers, contrastive_loss
from model.towers.encoder import embed_in_buckets
from model.training.augmentation import REALISTIC, TRAINING
from model.training.dataset import Dataset, neighbourhood_order
from model.training.ranking import ranks_of_truth
from model.training.split import Part

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        minutes: training time; the rate decays to zero over it.
        batch: crystals a step.
        views: patterns of each crystal in a step; the crystal is embedded once for all of them.
        rate: peak learning rate of AdamW.
        warm_up: steps until the peak.
        library_from: epoch from which the whole training library serves as negatives.
        leaf: crystals a neighbourhood in a batch.
        evaluate_minutes: time between validations.
        patience: validations without improvement until training stops.
        seed: of weights, order and noise.
    """

    minutes: float = 60.0
    batch: int = 256
    views: int = 2
    rate: float = 1e-3
    warm_up: int = 300
    library_from: int = 3
    leaf: int = 8
    evaluate_minutes: float = 5.0
    patience: int = 8
    seed: int = 0

    def rate_at(self, step: int, elapsed_s: float) -> float:
        """Linear warm-up, then a cosine over the time budget."""
        progress = min(elapsed_s / (self.minutes * 60), 1.0)
        return self.rate * min((step + 1) / self.warm_up, 1.0) * (0.5 + 0.5 * cos(pi * progress))


@dataclass
class Progress:
    """Where a run stands; all of it is in the checkpoint."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    elapsed_s: float = 0.0
    pairs: int = 0
    best_top1: float = -1.0
    stale: int = 0
    order: Index = field(default_factory=lambda: np.empty(0, dtype=np.int64))


class Trainer:
    """One run in one folder: log, last checkpoint, best weights."""

    def __init__(self, dataset: Dataset, shape: Shape, schedule: Schedule, out: Path) -> None:
        torch.manual_seed(schedule.seed)
        self.dataset, self.schedule, self.out = dataset, schedule, out
        self.towers = TwinTowers(shape)
        decayed = [p for p in self.towers.parameters() if p.dim() > 1]
        others = [p for p in self.towers.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
            betas=(0.9, 0.98),
        )
        self.rng = np.random.default_rng(schedule.seed)
        self.train_rows = np.array(dataset.parts[Part.TRAIN])
        self.bank = torch.zeros(len(dataset.crystals), shape.dimension)
        self.progress = Progress()
        out.mkdir(parents=True, exist_ok=True)
        if (out / "last.pt").exists():
            self._resume()

    def run(self) -> None:
        """Train until the time is spent or validation stops improving."""
        budget = self.schedule.minutes * 60
        next_evaluation = self.progress.elapsed_s + self.schedule.evaluate_minutes * 60
        while self.progress.elapsed_s < budget and self.progress.stale < self.schedule.patience:
            started = time.perf_counter()
            loss = self._step(self._next_rows())
            self.progress.elapsed_s += time.perf_counter() - started
            if self.progress.step % 50 == 0:
                self._log({"loss": round(loss, 4)})
            if self.progress.elapsed_s >= min(next_evaluation, budget):
                self._evaluate()
                self._save()
                next_evaluation = self.progress.elapsed_s + self.schedule.evaluate_minutes * 60

    def _next_rows(self) -> Index:
        progress, batch = self.progress, self.schedule.batch
        if progress.place + batch > len(progress.order):
            if len(progress.order):
                progress.epoch += 1
            hard = progress.epoch >= self.schedule.library_from
            known = self.bank[self.train_rows]
            order = neighbourhood_order(known, self.schedule.leaf, self.rng) if hard else None
            shuffled = self.rng.permutation(len(self.train_rows)) if order is None else order
            progress.order, progress.place = self.train_rows[shuffled], 0
        rows = progress.order[progress.place : progress.place + batch]
        progress.place += batch
        return rows

    def _step(self, rows: Index) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate_at(self.progress.step, self.progress.elapsed_s)
        self.towers.train()
        index = torch.from_numpy(rows)
        with torch.autocast("cpu", torch.bfloat16):
            crystal_vectors = embed_in_buckets(self.towers.crystals, self.dataset.tokens.take(index))
            views = [
                embed_in_buckets(self.towers.patterns, self.dataset.patterns(rows, TRAINING, self.rng))
                for _ in range(self.schedule.views)
            ]
        groups = torch.from_numpy(self.dataset.duplicates)
        negatives = self._library_negatives(groups, index)
        same = groups[index][:, None] == groups[index]
        scale = self.towers.scale()
        losses = [contrastive_loss(view, crystal_vectors, same, scale, negatives) for view in views]
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        self.optimiser.step()
        self.bank[index] = crystal_vectors.detach()
        self.progress.step += 1
        self.progress.pairs += len(rows) * self.schedule.views
        return float(loss.detach())

    def _library_negatives(self, groups: Tensor, index: Tensor) -> LibraryNegatives | None:
        """The training library as last embedded; the first epochs move it too fast to be of use."""
        if self.progress.epoch < self.schedule.library_from:
            return None
        library = torch.from_numpy(self.train_rows)
        return LibraryNegatives(self.bank[library], groups[index][:, None] == groups[library])

    def _evaluate(self) -> None:
        """Validation crystals under realistic noise against training and validation crystals together."""
        self.towers.eval()
        rows = np.array(self.dataset.parts[Part.VALIDATION])
        rng = np.random.default_rng(12345)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            index = torch.from_numpy(rows)
            self.bank[index] = embed_in_buckets(self.towers.crystals, self.dataset.tokens.take(index))
            queries = rng.choice(rows, min(1000, len(rows)), replace=False)
            vectors = embed_in_buckets(self.towers.patterns, self.dataset.patterns(queries, REALISTIC, rng))
        gallery = np.concatenate([self.train_rows, rows])
        ranks = ranks_of_truth(
            vectors.numpy(),
            self.bank[gallery].numpy(),
            self.dataset.duplicates[queries],
            self.dataset.duplicates[gallery],
        )
        figures = {f"top{k}": round(float((ranks < k).mean()), 4) for k in (1, 10, 100)}
        self._log({"validation": figures})
        if figures["top1"] > self.progress.best_top1:
            self.progress.best_top1, self.progress.stale = figures["top1"], 0
            _write(
                self.out / "best.pt",
                {"shape": self.towers.shape.as_json(), "weights": self.towers.state_dict()},
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
            "pairs_per_s": round(progress.pairs / max(progress.elapsed_s, 1e-9), 1),
            "scale": round(float(self.towers.scale().detach()), 2),
        } | figures
        with (self.out / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _save(self) -> None:
        state = {
            "shape": self.towers.shape.as_json(),
            "schedule": asdict(self.schedule),
            "weights": self.towers.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "bank": self.bank,
            "progress": asdict(self.progress),
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
        }
        _write(self.out / "last.pt", state)

    def _resume(self) -> None:
        # A training checkpoint is this program's own file, never an upload, so pickled state is no risk.
        state = torch.load(self.out / "last.pt", weights_only=False)
        self.towers.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.bank, self.progress = state["bank"], Progress(**state["progress"])
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])


def _write(path: Path, state: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
