"""Training data in memory: tokens of every crystal, its pool of patterns, its part of the split."""

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
from model.training.pool import POOL_FORM, PatternPool, Regime, compute_pool
from model.training.split import SplitPart, split

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """C crystals with everything a training step takes.

    Attributes:
        crystals: the crystals.
        tokens: CGE input of all of them.
        pool: their patterns.
        duplicates: (C,) group number; equal for the same crystal.
        parts: indices of each part of the split.
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
        """Compute tokens, duplicates and pool, or read the pool from the cache of an earlier run on the same data.

        Raises:
            OptionError: no draws.
        """
        if draws < 1:
            raise OptionError(f"{draws} draws a crystal: give at least 1")
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"pool-{_digest(crystals, draws, seed, regime, POOL_FORM)}.npz"
        if not path.exists():
            compute_pool(crystals, draws, seed, regime).save(path)
        return cls(
            crystals=crystals,
            tokens=batch_crystals([CrystalTokens.from_crystal(crystal) for crystal in crystals]),
            pool=PatternPool.load(path),
            duplicates=np.asarray(group_duplicates(crystals)),
            parts=split(crystals, seed, held_out),
        )

    def digest(self) -> str:
        """Names crystals and split; row numbers of one data set mean nothing in another."""
        return _digest(self.crystals, sorted((part.value, rows) for part, rows in self.parts.items()))

    def patterns(
        self, rows: Index, instrument: Instrument, rng: np.random.Generator, draw: int | None = None
    ) -> PatternBatch:
        """One pattern of each crystal at `rows`, of this draw or a random one, through an instrument."""
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


def _digest(crystals: Sequence[Crystal], *how: object) -> str:
    digest = hashlib.sha256(repr(how).encode())
    for crystal in crystals:
        for array in (crystal.lattice, crystal.numbers, crystal.positions):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def sample_at_most(names: Sequence[str], count: int, rng: np.random.Generator) -> Index:
    """Rows in random order, at most `count` of each name, anew at each call."""
    seen: Counter[str] = Counter()
    drawn: list[int] = []
    for row in rng.permutation(len(names)):
        seen[names[row]] += 1
        if seen[names[row]] <= count:
            drawn.append(row)
    return np.array(drawn, dtype=np.int64)


def order_by_neighborhood(vectors: torch.Tensor, leaf: int, rng: np.random.Generator) -> Index:
    """(C,) order in which crystals of similar vectors stand together, anew at each call.

    A tree of random projections halves the set until `leaf` are left; leaves come in random order. Batches cut
    from it are made of neighbourhoods, so that a batch holds the negatives that are hard to tell apart.
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
