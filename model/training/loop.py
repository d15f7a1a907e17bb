"""The training loop: contrastive, timed, resumable."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.towers.contrastive import Shape, TwinTowers, contrastive_loss
from model.towers.encoder import embed_in_buckets, precision
from model.training.augmentation import REALISTIC, TRAINING
from model.training.dataset import Dataset, neighbourhood_order
from model.training.optimiser import optimisers_of
from model.training.ranking import ranks_of_truth
from model.training.split import Part

Index = NDArray[np.int64]

VALIDATION_SEED = 12345
VALIDATION_QUERIES = 1000
VALIDATION_DISTRACTORS = 4000


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        minutes: training time.
        batch: crystals a step.
        views: patterns of each crystal in a step; the crystal is embedded once for all of them.
        rate: peak learning rate.
        warm_up: steps until the peak.
        decay: share of the time, at its end, over which the rate falls to zero.
        neighbours_from: epoch from which batches are made of neighbourhoods, so that their negatives are hard.
        bank_from: epoch from which a pattern is told apart from every training crystal, by the vectors that
            these had when they were last in a batch (X. Wang et al., CVPR 2020, 6388).
        leaf: crystals a neighbourhood in a batch.
        evaluate_minutes: time between validations.
        patience: validations without improvement until training stops.
        seed: of weights, order and noise.
    """

    minutes: float = 60.0
    batch: int = 96
    views: int = 3
    rate: float = 2e-3
    warm_up: int = 100
    decay: float = 0.5
    neighbours_from: int = 2
    bank_from: int = 2
    leaf: int = 8
    evaluate_minutes: float = 10.0
    patience: int = 8
    seed: int = 0

    def rate_at(self, step: int, elapsed_s: float) -> float:
        """Linear warm-up, a plateau, and a linear decay over the last part of the time budget."""
        left = 1 - min(elapsed_s / (self.minutes * 60), 1.0)
        return self.rate * min((step + 1) / self.warm_up, 1.0, left / self.decay)


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
        self.optimisers = optimisers_of(self.towers, schedule.rate)
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
            hard = progress.epoch >= self.schedule.neighbours_from
            known = self.bank[self.train_rows]
            order = neighbourhood_order(known, self.schedule.leaf, self.rng) if hard else None
            shuffled = self.rng.permutation(len(self.train_rows)) if order is None else order
            progress.order, progress.place = self.train_rows[shuffled], 0
        rows = progress.order[progress.place : progress.place + batch]
        progress.place += batch
        return rows

    def _step(self, rows: Index) -> float:
        rate = self.schedule.rate_at(self.progress.step, self.progress.elapsed_s)
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        self.towers.train()
        index = torch.from_numpy(rows)
        with precision(len(rows)):
            crystal_vectors = embed_in_buckets(self.towers.crystals, self.dataset.tokens.take(index))
            views = [
                embed_in_buckets(self.towers.patterns, self.dataset.patterns(rows, TRAINING, self.rng))
                for _ in range(self.schedule.views)
            ]
        loss = self._loss(index, crystal_vectors, views)
        self.towers.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.bank[index] = crystal_vectors.detach()
        self.progress.step += 1
        self.progress.pairs += len(rows) * self.schedule.views
        return float(loss.detach())

    def _loss(
        self, index: torch.Tensor, crystal_vectors: torch.Tensor, views: list[torch.Tensor]
    ) -> torch.Tensor:
        """Mean loss of the views, against the batch's crystals and, once it is filled, the bank of all others."""
        groups = torch.from_numpy(self.dataset.duplicates)
        same = groups[index][:, None] == groups[index]
        others = same_as_others = None
        if self.progress.epoch >= self.schedule.bank_from:
            known = torch.from_numpy(self.train_rows)
            others, same_as_others = self.bank[known], groups[index][:, None] == groups[known]
        scale = self.towers.scale()
        losses = [
            contrastive_loss(view, crystal_vectors, same, scale, others, same_as_others) for view in views
        ]
        return torch.stack(losses).mean()

    def _evaluate(self) -> None:
        """Validation crystals under realistic noise against all of them and a sample of the training crystals."""
        self.towers.eval()
        held, rng = np.array(self.dataset.parts[Part.VALIDATION]), np.random.default_rng(VALIDATION_SEED)
        gallery = np.concatenate([held, rng.permutation(self.train_rows)[:VALIDATION_DISTRACTORS]])
        queries = rng.choice(held, min(VALIDATION_QUERIES, len(held)), replace=False)
        with torch.no_grad(), precision(len(gallery)):
            known = embed_in_buckets(
                self.towers.crystals, self.dataset.tokens.take(torch.from_numpy(gallery))
            )
            asked = embed_in_buckets(self.towers.patterns, self.dataset.patterns(queries, REALISTIC, rng))
        groups = self.dataset.duplicates
        ranks = ranks_of_truth(asked.numpy(), known.numpy(), groups[queries], groups[gallery])
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
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
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
        for optimiser, own in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        self.bank, self.progress = state["bank"], Progress(**state["progress"])
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])


def _write(path: Path, state: Mapping[str, object]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
