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

from model.towers.contrastive import Shape, TwinTowers, contrastive_loss
from model.towers.encoder import embed_in_buckets
from model.training.augmentation import REALISTIC, TRAINING
from model.training.dataset import Dataset, neighbourhood_order
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
        minutes: training time; the rate decays to zero over it.
        batch: crystals a step.
        views: patterns of each crystal in a step; the crystal is embedded once for all of them.
        rate: peak learning rate of AdamW.
        warm_up: steps until the peak.
        neighbours_from: epoch from which batches are made of neighbourhoods, so that their negatives are hard.
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
    neighbours_from: int = 6
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
            hard = progress.epoch >= self.schedule.neighbours_from
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
        same = groups[index][:, None] == groups[index]
        scale = self.towers.scale()
        losses = [contrastive_loss(view, crystal_vectors, same, scale) for view in views]
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        self.optimiser.step()
        self.bank[index] = crystal_vectors.detach()
        self.progress.step += 1
        self.progress.pairs += len(rows) * self.schedule.views
        return float(loss.detach())

    def _evaluate(self) -> None:
        """Validation crystals under realistic noise against all of them and a sample of the training crystals."""
        self.towers.eval()
        held, rng = np.array(self.dataset.parts[Part.VALIDATION]), np.random.default_rng(VALIDATION_SEED)
        gallery = np.concatenate([held, rng.permutation(self.train_rows)[:VALIDATION_DISTRACTORS]])
        queries = rng.choice(held, min(VALIDATION_QUERIES, len(held)), replace=False)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
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
