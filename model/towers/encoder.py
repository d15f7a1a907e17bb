"""Trained towers at work: crystals and spots in, unit vectors out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.pattern.friedel import friedel_pairs
from model.pattern.spots import Spots
from model.towers.contrastive import Form, TwinTowers
from model.towers.tokens import CrystalBatch, CrystalTokens, PatternBatch, crystal_batch, pattern_batch

Vectors = NDArray[np.float32]

BUCKET = 64
DEFAULT_VOLTAGE_KV = 80.0


class Towers:
    """The two encoders with their weights, read-only; safe to call from several threads.

    Attributes:
        digest: "sha256:..." of weights and description.
        dimension: D of the vectors.
        form: which towers these are.
    """

    def __init__(self, network: TwinTowers, digest: str) -> None:
        self._network = network.eval().requires_grad_(False)
        self.digest = digest
        self.dimension = network.shape.dimension
        self.form: Form = network.shape.form

    def embed_crystals(self, crystals: Sequence[Crystal]) -> Vectors:
        """(N, D) unit vectors of crystals; bfloat16 inside for many at once, where the processor knows it."""
        if not crystals:
            return np.empty((0, self.dimension), dtype=np.float32)
        batch = crystal_batch([CrystalTokens.of(crystal) for crystal in crystals])
        with torch.inference_mode(), precision(len(crystals)):
            return embed_in_buckets(self._network.crystals, batch).numpy()

    def embed_spots(self, patterns: Sequence[Spots], voltage_kv: Sequence[float] | None = None) -> Vectors:
        """(N, D) unit vectors of patterns.

        Args:
            patterns: the spots; their own voltages count where none are given, else 80 kV.
            voltage_kv: accelerating voltage of each.

        Raises:
            OptionError: another number of voltages than of patterns.
        """
        if not patterns:
            return np.empty((0, self.dimension), dtype=np.float32)
        if voltage_kv is None:
            voltage_kv = [pattern.voltage_kv or DEFAULT_VOLTAGE_KV for pattern in patterns]
        if len(voltage_kv) != len(patterns):
            raise OptionError(f"{len(voltage_kv)} voltages for {len(patterns)} patterns; give one each")
        return self.embed_patterns(
            pattern_batch([friedel_pairs(pattern) for pattern in patterns], voltage_kv)
        )

    def embed_patterns(self, batch: PatternBatch) -> Vectors:
        """(B, D) unit vectors of patterns that are tokens already."""
        with torch.inference_mode(), precision(len(batch)):
            return embed_in_buckets(self._network.patterns, batch).numpy()


def embed_in_buckets(
    encode: Callable[..., Tensor], batch: CrystalBatch | PatternBatch, bucket: int = BUCKET
) -> Tensor:
    """Encode a batch sorted by length in buckets, each padded to its own longest; (B, D) in the given order."""
    order = torch.argsort(batch.lengths())
    vectors = torch.cat([encode(batch.take(rows)) for rows in torch.split(order, bucket)])
    return vectors[torch.argsort(order)]


def precision(count: int) -> AbstractContextManager[object]:
    """bfloat16 for batches of this size where the processor computes in it, else float32.

    Without such instructions a product in bfloat16 takes a hundred times as long as one in float32.
    """
    if count >= BUCKET and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()
