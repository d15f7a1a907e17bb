"""Optimizers: Muon for the matrices of the transformer blocks, AdamW for all other parameters.

Muon (K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024) turns the momentum of a
weight matrix into the nearest semi-orthogonal one, so that all directions learn at the same rate. PyTorch's own
implementation uses bfloat16, which is a hundred times slower than float32 on processors without it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Odd polynomial; five iterations map singular values from 0.01 to 1 to within 0.3 of 1 (Jordan et al.).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
# Gives a step the rms of an AdamW step, so that both share one rate (J. Liu et al., arXiv:2502.16982, 2025).
_ADAM_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum with decoupled weight decay, for two-dimensional weights only."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, momentum: float = 0.95, decay: float = 0.05
    ) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the orthogonalized momentum of each weight."""
        if closure is not None:
            raise NotImplementedError("Muon does not accept a closure.")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: nn.Parameter, group: dict[str, Any]) -> None:
        assert weight.grad is not None
        state = self.state[weight]
        mean = state.setdefault("mean", torch.zeros_like(weight))
        mean.lerp_(weight.grad, 1 - group["momentum"])
        ahead = weight.grad.lerp(mean, group["momentum"])
        size = _ADAM_RMS * max(weight.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonalize(ahead), alpha=-group["lr"] * size)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return approximately the nearest semi-orthogonal matrix (M, N); its singular values are within 0.3 of 1."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    nearest: Tensor = x.T if tall else x
    return nearest


def build_optimizers(network: nn.Module, rate: float, decay: float = 0.05) -> list[torch.optim.Optimizer]:
    """Return Muon for the block matrices and AdamW for the rest; biases, gains and class tokens do not decay."""
    hidden: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2 or "class_token" in name:
            others.append(parameter)
        elif ".blocks." in name:
            hidden.append(parameter)
        else:
            decayed.append(parameter)
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}],
        lr=rate,
        betas=(0.9, 0.98),
    )
    return [Muon(hidden, rate, decay=decay), adam]
