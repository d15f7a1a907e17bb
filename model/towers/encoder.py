"""Inference with trained towers: crystals and spots in, unit vectors out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.digests import ArrayDigests, digest_files
from model.errors import CheckpointError, OptionError
from model.pattern.friedel_pairs import find_friedel_pairs
from model.pattern.spots import Spots
from model.towers.contrastive import Form, TwinTowers
from model.towers.tokens import CrystalBatch, CrystalTokens, PatternBatch, batch_crystals, batch_patterns
from model.towers.workers import Encode, Workers, embed_part, gather_vectors, split_batch

Vectors = NDArray[np.float32]

MAX_PART_SAMPLES = 64
DEFAULT_VOLTAGE_KV = 80.0


class Towers:
    """The two encoders with read-only weights; safe to call from several threads.

    Args:
        network: the encoders.
        digest: "sha256:..." of the files.
        training: description of the training.
        files: that the weights came from, in the order in which they were digested; none if they are only in memory.

    Attributes:
        digest: "sha256:..." of weights and description.
        dimension: dimension D of the vectors.
        form: architecture of the towers.
        training: description of the training (data, split, time), as far as it is known.
    """

    def __init__(
        self,
        network: TwinTowers,
        digest: str,
        training: Mapping[str, Any] = MappingProxyType({}),
        files: Sequence[Path] = (),
    ) -> None:
        self._network = network.eval().requires_grad_(False)
        self._files = files
        tensors = chain(self._network.named_parameters(), self._network.named_buffers())
        self._digests = ArrayDigests({name: tensor.numpy() for name, tensor in tensors})
        self.digest, self.training = digest, training
        self.dimension = network.size.dimension
        self.form: Form = network.size.form

    def check_integrity(self) -> Iterator[int]:
        """Compare the weights in memory and their files with their digests; yield the number of bytes of each piece.

        Raises:
            CheckpointError: a bit has changed.
        """
        changed = yield from self._digests.find_changed()
        if changed:
            raise CheckpointError(
                f"The weights {changed} have changed in memory; if this recurs, test the memory."
            )
        try:
            digest = yield from digest_files(self._files)
        except FileNotFoundError:
            digest = ""
        is_sound = not self._files or f"sha256:{digest}" == self.digest
        if not is_sound:
            names = " or ".join(path.name for path in self._files)
            raise CheckpointError(f"{names} is not the file that was loaded; restore it, then start again.")

    def embed_crystals(self, crystals: Sequence[Crystal]) -> Vectors:
        """Return (N, D) unit vectors of crystals; large batches use bfloat16 where the processor supports it."""
        if not crystals:
            return np.empty((0, self.dimension), dtype=np.float32)
        batch = batch_crystals([CrystalTokens.from_crystal(each) for each in crystals])
        return self._embed(self._network.embed_crystals, batch)

    def embed_spots(self, patterns: Sequence[Spots], voltage_kv: Sequence[float] | None = None) -> Vectors:
        """Return (N, D) unit vectors of patterns.

        Args:
            patterns: the spots of each pattern.
            voltage_kv: accelerating voltage of each pattern; by default that of its spots, otherwise 80 kV.

        Raises:
            OptionError: the numbers of voltages and patterns differ.
        """
        if not patterns:
            return np.empty((0, self.dimension), dtype=np.float32)
        if voltage_kv is None:
            voltage_kv = [pattern.voltage_kv or DEFAULT_VOLTAGE_KV for pattern in patterns]
        if len(voltage_kv) != len(patterns):
            raise OptionError(
                f"There are {len(voltage_kv)} voltages for {len(patterns)} patterns; give one for each pattern."
            )
        return self.embed_patterns(
            batch_patterns([find_friedel_pairs(pattern) for pattern in patterns], voltage_kv)
        )

    def embed_patterns(self, batch: PatternBatch) -> Vectors:
        """Return (B, D) unit vectors of a batch of patterns."""
        return self._embed(self._network.embed_patterns, batch)

    def _embed(self, encode: Encode, batch: CrystalBatch | PatternBatch) -> Vectors:
        """Encode a large batch on as many threads as PyTorch may use, a small one on the calling thread."""
        parts = split_batch(encode, batch, MAX_PART_SAMPLES)
        if len(parts) == 1 or torch.get_num_threads() == 1:
            return gather_vectors(parts, [embed_part(part) for part in parts]).numpy()
        with Workers(torch.get_num_threads()) as workers:
            return workers.embed(parts).numpy()
