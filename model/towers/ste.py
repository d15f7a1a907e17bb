"""Site texture encoder (STE): maps a measured pattern to a vector."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.towers.attention import PairBias, Trunk, fourier_features, mask_missing
from model.towers.tokens import PatternBatch

LENGTH_WAVELENGTHS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)
INTENSITY_WAVELENGTHS = (32.0, 16.0, 8.0, 4.0, 2.0)
REFERENCE_VOLTAGE_KV = 100.0


class PairEmbedding(nn.Module):
    """Embedding of a Friedel pair for both towers: |q| and ln intensity as Fourier features, mapped to width W."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("length_waves", torch.tensor(LENGTH_WAVELENGTHS), persistent=False)
        self.register_buffer("intensity_waves", torch.tensor(INTENSITY_WAVELENGTHS), persistent=False)
        features = 2 * len(LENGTH_WAVELENGTHS) + 2 * len(INTENSITY_WAVELENGTHS) + 1
        self.hidden = nn.Linear(features, width)
        self.out = nn.Linear(width, width)

    def forward(self, length: Tensor, log_intensity: Tensor, extra: Tensor) -> Tensor:
        """Return (B, P, W) for |q| (B, P), ln intensity (B, P), and features (B, P, W) that only one tower has."""
        features = torch.cat(
            [
                fourier_features(length, self.get_buffer("length_waves")),
                fourier_features(log_intensity, self.get_buffer("intensity_waves")),
                log_intensity[..., None] / 5,
            ],
            dim=-1,
        )
        embedded: Tensor = self.out(functional.relu(self.hidden(features) + extra))
        return embedded


class SiteTextureEncoder(nn.Module):
    """STE on Friedel pairs, invariant under rotation and mirror by construction.

    A class token summarizes the pattern; it also carries the voltage.
    """

    def __init__(self, pair: PairEmbedding, bias: PairBias, trunk: Trunk, width: int) -> None:
        super().__init__()
        self.pair, self.bias, self.trunk = pair, bias, trunk
        self.measured = nn.Linear(5, width)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        self.conditions = nn.Linear(2, width)

    def forward(self, batch: PatternBatch) -> Tensor:
        """Return the (B, W) output of the class token."""
        known = batch.has_intensity[:, None].float()
        asymmetry = torch.tanh(batch.log_ratio.abs() / 2)
        lone = (~batch.paired).float()
        unknown = 1 - known.expand_as(lone)
        extra = self.measured(
            torch.stack([asymmetry, asymmetry**2, lone, unknown, lone * batch.log_intensity / 5], dim=-1)
        )
        pairs = self.pair(batch.q.norm(dim=-1), batch.log_intensity * known, extra)
        voltage = torch.log(batch.voltage_kv / REFERENCE_VOLTAGE_KV)
        conditions = self.conditions(torch.stack([voltage, 1 - batch.has_intensity.float()], dim=-1))
        x = torch.cat([(self.class_token + conditions)[:, None].to(pairs.dtype), pairs], dim=1)
        present = functional.pad(batch.present, (1, 0), value=True)
        geometry = functional.pad(self.bias(batch.q, torch.tanh(batch.log_ratio)), (1, 0, 1, 0))
        hidden = mask_missing(present, geometry.dtype)
        output: Tensor = self.trunk(x, [layer + hidden for layer in geometry])
        return output[:, 0]
