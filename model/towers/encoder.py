"""Trained towers at work: crystals and spots in, unit vectors out."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.pattern.friedel_pairs import find_friedel_pairs
from model.pattern.spots import Spots
from model.towers.contrastive import Form, TwinTowers
from model.towers.tokens import CrystalBatch, CrystalTokens, PatternBatch, batch_crystals, batch_patterns
from model.towers.workers import Encode, Workers, embedded, gather_vectors, split_batch

Vectors = NDArray[np.float32]

BUCKET = 64
DEFAULT_VOLTAGE_KV = 80.0


class Towers:
    """The two encoders with their weights, read-only; safe to call from several threads.

    Attributes:
        digest: "sha256:..." of weights and description.
        dimension: D of the vectors.
        form: which towers these are.
        training: how they were made (data, split, time), as far as they say.
    """

    def __init__(
        self, network: TwinTowers, digest: str, training: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._network = network.eval().requires_grad_(False)
        self.training = training
        self.digest = digest
        self.dimension = network.shape.dimension
        self.form: Form = network.shape.form

    def embed_crystals(self, crystals: Sequence[Crystal]) -> Vectors:
        """(N, D) unit vectors of crystals; bfloat16 inside for many at once, where the processor knows it."""
        if not crystals:
            return np.empty((0, self.dimension), dtype=np.float32)
        return self._embed(
            self._network.crystals, batch_crystals([CrystalTokens.from_crystal(each) for each in crystals])
        )

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
            batch_patterns([find_friedel_pairs(pattern) for pattern in patterns], voltage_kv)
        )

    def embed_patterns(self, batch: PatternBatch) -> Vectors:
        """(B, D) unit vectors of patterns that are tokens already."""
        return self._embed(self._network.patterns, batch)

    def _embed(self, encode: Encode, batch: CrystalBatch | PatternBatch) -> Vectors:
        """Many samples on as many threads as PyTorch may use, few on the caller's own."""
        parts = split_batch(encode, batch, BUCKET)
        if len(parts) == 1 or torch.get_num_threads() == 1:
            return gather_vectors(parts, [embedded(part) for part in parts]).numpy()
        with Workers(torch.get_num_threads()) as workers:
            return workers.embed(parts).numpy()
