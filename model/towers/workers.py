"""Encoding on several cores: each thread encodes parts of a batch and, in training, computes their gradients.

PyTorch distributes single operations, which are small here: two of its threads were little faster than one. Two threads
that each process parts of a batch are almost twice as fast as one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from model.towers.tokens import CrystalBatch, PatternBatch

Encode = Callable[..., Tensor]

MIN_BFLOAT16_SAMPLES = 32
"""Smallest part that is computed in bfloat16 for speed; a single query is computed exactly."""


def limit_threads(count: int) -> None:
    """Limit the threads that PyTorch and NumPy use in one computation.

    The matrices are small. Several requests at once benefit more from one thread each than a single one from all, and
    threads that wait for each other are many times slower.
    """
    torch.set_num_threads(count)
    threadpool_limits(count)


@dataclass(frozen=True)
class BatchPart:
    """Samples of similar length that are encoded together.

    Attributes:
        encode: function that encodes the samples.
        batch: the samples.
        rows: (N,) rows of their vectors in the result.
    """

    encode: Encode
    batch: CrystalBatch | PatternBatch
    rows: Tensor


def split_batch(
    encode: Encode, batch: CrystalBatch | PatternBatch, size: int, first: int = 0
) -> list[BatchPart]:
    """Split a batch, sorted by length, into parts of at most `size`; their rows start at `first`."""
    order = torch.argsort(batch.sort_keys())
    return [BatchPart(encode, batch.select(rows), rows + first) for rows in torch.split(order, size)]


class Workers:
    """Threads that process parts of a batch.

    Args:
        count: number of threads.
    """

    def __init__(self, count: int) -> None:
        self._threads_before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        torch.set_num_threads(self._threads_before)

    def encode(self, parts: Sequence[BatchPart]) -> list[Tensor]:
        """Encode the parts and keep the graph for gradients."""
        return list(self._pool.map(_encode_part, parts))

    def embed(self, parts: Sequence[BatchPart]) -> Tensor:
        """Encode the parts without a graph and return (N, D) vectors in the order of their rows."""
        return gather_vectors(parts, list(self._pool.map(embed_part, parts)))

    def add_gradients(
        self, vectors: Sequence[Tensor], gradients: Sequence[Tensor], parameters: Sequence[nn.Parameter]
    ) -> None:
        """Propagate the gradients of the vectors to the parameters, summed in the order of the parts.

        Args:
            vectors: the vectors from `encode`.
            gradients: gradients of the loss with respect to the vectors.
            parameters: parameters whose `grad` is increased.
        """

        def backpropagate(vector: Tensor, gradient: Tensor) -> tuple[Tensor | None, ...]:
            return torch.autograd.grad(vector, parameters, gradient, allow_unused=True)

        for shares in self._pool.map(backpropagate, vectors, gradients):
            for parameter, share in zip(parameters, shares, strict=True):
                if share is not None:
                    parameter.grad = share if parameter.grad is None else parameter.grad.add_(share)


def gather_vectors(parts: Sequence[BatchPart], vectors: Sequence[Tensor]) -> Tensor:
    """Gather the vectors of all parts into an (N, D) array by row, detached from the graph."""
    whole = torch.empty(sum(len(own) for own in vectors), vectors[0].shape[1])
    for part, own in zip(parts, vectors, strict=True):
        whole[part.rows] = own.detach()
    return whole


def embed_part(part: BatchPart) -> Tensor:
    """Encode a part without a graph."""
    with torch.inference_mode():
        return _encode_part(part)


def _encode_part(part: BatchPart) -> Tensor:
    with _choose_precision(len(part.rows)):
        return part.encode(part.batch)


def _choose_precision(count: int) -> AbstractContextManager[object]:
    """Return bfloat16 for many samples on processors that support it; on others it is a hundred times slower."""
    if count >= MIN_BFLOAT16_SAMPLES and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()
