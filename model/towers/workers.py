"""Many samples on several cores: each thread encodes, and in training differentiates, parts of them.

PyTorch shares out single operations, which are small here: with two of its threads a step was little faster than
with one. Threads that each work at a part of their own are almost twice as fast as one.
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

MANY = 32
"""From so many samples on, rounding to bfloat16 is worth its speed; a single query stays exact."""


def limit_threads(count: int) -> None:
    """Let torch and the linear algebra of NumPy use so many threads in one computation, from now on.

    The matrices are small: several requests at once gain more from a thread each than one of them from all, and
    threads that wait for each other are many times slower.
    """
    torch.set_num_threads(count)
    threadpool_limits(count)


@dataclass(frozen=True)
class BatchPart:
    """Samples of like length, encoded together.

    Attributes:
        encode: one of the towers.
        batch: the samples.
        rows: (N,) places of their vectors in the whole.
    """

    encode: Encode
    batch: CrystalBatch | PatternBatch
    rows: Tensor


def split_batch(
    encode: Encode, batch: CrystalBatch | PatternBatch, size: int, first: int = 0
) -> list[BatchPart]:
    """A batch sorted by length in parts of at most `size`; its vectors get the rows from `first` on."""
    order = torch.argsort(batch.lengths())
    return [BatchPart(encode, batch.take(rows), rows + first) for rows in torch.split(order, size)]


class Workers:
    """Threads that run parts, one at a time each.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._threads_before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        torch.set_num_threads(self._threads_before)

    def vectors(self, parts: Sequence[BatchPart]) -> list[Tensor]:
        """The vectors of each part, with the graph behind them."""
        return list(self._pool.map(_encoded, parts))

    def embed(self, parts: Sequence[BatchPart]) -> Tensor:
        """(N, D) vectors of all parts in their rows, without a graph."""
        return gather_vectors(parts, list(self._pool.map(embedded, parts)))

    def add_gradients(
        self, vectors: Sequence[Tensor], gradients: Sequence[Tensor], parameters: Sequence[nn.Parameter]
    ) -> None:
        """Carry the gradients of each part's vectors back to the parameters, added up in the parts' order.

        Args:
            vectors: what `vectors` returned.
            gradients: of the loss with respect to each.
            parameters: whose `grad` is added to.
        """

        def carried_back(vector: Tensor, gradient: Tensor) -> tuple[Tensor | None, ...]:
            return torch.autograd.grad(vector, parameters, gradient, allow_unused=True)

        for shares in self._pool.map(carried_back, vectors, gradients):
            for parameter, share in zip(parameters, shares, strict=True):
                if share is not None:
                    parameter.grad = share if parameter.grad is None else parameter.grad.add_(share)


def gather_vectors(parts: Sequence[BatchPart], vectors: Sequence[Tensor]) -> Tensor:
    """(N, D) the vectors of all parts, each in its row, without the graph behind them."""
    whole = torch.empty(sum(len(own) for own in vectors), vectors[0].shape[1])
    for part, own in zip(parts, vectors, strict=True):
        whole[part.rows] = own.detach()
    return whole


def embedded(part: BatchPart) -> Tensor:
    """The vectors of a part, without a graph."""
    with torch.inference_mode():
        return _encoded(part)


def _encoded(part: BatchPart) -> Tensor:
    with _precision(len(part.batch)):
        return part.encode(part.batch)


def _precision(count: int) -> AbstractContextManager[object]:
    """bfloat16 for many samples where the processor computes in it; elsewhere it is a hundred times slower."""
    if count >= MANY and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()
