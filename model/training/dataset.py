"""Training data in memory: tokens and patterns of every crystal, and the split."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.duplicates import group_duplicates
from model.errors import OptionError
from model.towers.tokens import CrystalBatch, CrystalTokens, PatternBatch, batch_crystals
from model.training.augmentation import Instrument, observe
from model.training.pool import POOL_VERSION, PatternPool, Regime, compute_pool
from model.training.split import SplitPart, split_by_formula

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """C crystals with everything that a training step needs.

    Attributes:
        crystals: the crystals.
        tokens: input of the CGE.
        pool: simulated patterns.
        duplicates: (C,) group numbers; duplicates share one.
        parts: indices of the crystals in each part of the split.
    """

    crystals: Sequence[Crystal]
    tokens: CrystalBatch
    pool: PatternPool
    duplicates: Index
    parts: dict[SplitPart, list[int]]

    @classmethod
    def build(
        cls,
        crystals: Sequence[Crystal],
        *,
        draws: int,
        seed: int,
        held_out: Collection[str],
        cache: Path,
        regime: Regime = "library",
    ) -> "Dataset":
        """Compute tokens and duplicates, and compute the pool or read it from the cache of an earlier run.

        Raises:
            OptionError: `draws` is less than 1.
        """
        if draws < 1:
            raise OptionError(f"The number of draws is {draws}; it must be at least 1.")
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"pool-{_compute_digest(crystals, draws, seed, regime, POOL_VERSION)}.npz"
        if not path.exists():
            compute_pool(crystals, draws, seed, regime).save(path)
        return cls(
            crystals=crystals,
            tokens=batch_crystals([CrystalTokens.from_crystal(crystal) for crystal in crystals]),
            pool=PatternPool.load(path),
            duplicates=np.asarray(group_duplicates(crystals)),
            parts=split_by_formula(crystals, seed, held_out),
        )

    def compute_digest(self) -> str:
        """Return a digest of crystals and split; row numbers are valid only for data with the same digest."""
        return _compute_digest(self.crystals, sorted((part.value, rows) for part, rows in self.parts.items()))

    def draw_patterns(
        self, rows: Index, instrument: Instrument, rng: np.random.Generator, draw: int | None = None
    ) -> PatternBatch:
        """Return a pattern of each crystal at `rows`, recorded by an instrument; the draw is random if None."""
        count = self.pool.log_intensity.shape[1]
        draws = rng.integers(0, count, len(rows)) if draw is None else np.full(len(rows), draw)
        return observe(
            self.pool.q[rows],
            self.pool.log_intensity[rows, draws].astype(np.float32),
            self.pool.present[rows],
            self.pool.voltage_kv[rows, draws],
            instrument,
            rng,
        )


def _compute_digest(crystals: Sequence[Crystal], *how: object) -> str:
    digest = hashlib.sha256(repr(how).encode())
    for crystal in crystals:
        for array in (crystal.lattice, crystal.numbers, crystal.positions):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def sample_at_most(names: Sequence[str], count: int, rng: np.random.Generator) -> Index:
    """Return rows in random order, at most `count` of each name."""
    seen: Counter[str] = Counter()
    rows: list[int] = []
    for row in rng.permutation(len(names)):
        seen[names[row]] += 1
        if seen[names[row]] <= count:
            rows.append(row)
    return np.array(rows, dtype=np.int64)


def order_by_neighborhood(vectors: torch.Tensor, leaf: int, rng: np.random.Generator) -> Index:
    """Return a random (C,) order in which crystals with similar vectors are adjacent.

    A tree of random projections halves the set until `leaf` crystals remain; the leaves are shuffled. A batch in this
    order consists of neighborhoods, so that it contains hard negatives.
    """
    values = vectors.numpy()
    leaves: list[Index] = []
    stack = [rng.permutation(len(values))]
    while stack:
        rows = stack.pop()
        if len(rows) <= leaf:
            leaves.append(rows)
            continue
        ends = values[rng.choice(rows, 2, replace=False)]
        order = rows[np.argsort(values[rows] @ (ends[0] - ends[1]))]
        stack += [order[: len(rows) // 2], order[len(rows) // 2 :]]
    return np.concatenate([leaves[i] for i in rng.permutation(len(leaves))])
