"""The two towers of the DD2D paper as a baseline: no physics, fixed orientation, one token per spot.

The size is that of the authors' ablation: width 384, 4 layers and 4 heads in each tower.
"""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.towers.attention import Trunk, mask_missing
from model.towers.cge import ELEMENT_EMBEDDINGS, SequenceEmbedding
from model.towers.tokens import CrystalBatch, PatternBatch


class PlainSequenceEncoder(nn.Module):
    """The paper's CGE: linear maps of cell and atoms, two class tokens, [CLS_start] masked."""

    def __init__(self, width: int, layers: int, heads: int, feed: int) -> None:
        super().__init__()
        self.trunk = Trunk(width, layers, heads, feed)
        self.class_tokens = nn.Parameter(torch.randn(2, width) * 0.02)
        self.cell, self.position = nn.Linear(6, width), nn.Linear(3, width)
        self.element = nn.Embedding(ELEMENT_EMBEDDINGS, width)
        self.join = nn.Linear(2 * width, width)

    def forward(self, batch: CrystalBatch) -> Tensor:
        """Return (B, W) from the outputs of both class tokens."""
        scale = torch.tensor([10.0, 10.0, 10.0, 90.0, 90.0, 90.0])
        start, end = (token.expand(len(batch), 1, -1) for token in self.class_tokens)
        atoms = self.element(batch.numbers) + self.position(batch.positions / 10)
        x = torch.cat([start, self.cell(batch.cell / scale)[:, None], end, atoms], dim=1)
        present = functional.pad(batch.numbers > 0, (SequenceEmbedding.ATOMS, 0), value=True)
        bias = mask_missing(present, x.dtype) + SequenceEmbedding.mask_start(x.shape[1], x.dtype)
        output = self.trunk(x, bias)
        joined: Tensor = self.join(output[:, [SequenceEmbedding.START, SequenceEmbedding.END]].flatten(1))
        return joined


class PlainSpotEncoder(nn.Module):
    """The paper's STE: position and log intensity of each spot are embedded and concatenated; one class token."""

    def __init__(self, width: int, layers: int, heads: int, feed: int) -> None:
        super().__init__()
        self.trunk = Trunk(width, layers, heads, feed)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        self.position, self.intensity = nn.Linear(2, width // 2), nn.Linear(1, width - width // 2)

    def forward(self, batch: PatternBatch) -> Tensor:
        """Return the (B, W) output of the class token."""
        q, log_intensity, present = split_pairs(batch)
        spots = torch.cat([self.position(q), self.intensity(log_intensity[..., None] / 5)], dim=-1)
        x = torch.cat([self.class_token.expand(len(spots), 1, -1), spots], dim=1)
        bias = mask_missing(functional.pad(present, (1, 0), value=True), x.dtype)
        output: Tensor = self.trunk(x, bias)
        return output[:, 0]


def split_pairs(batch: PatternBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Split Friedel pairs into spots: q (B, 2P, 2), ln intensity (B, 2P) and presence (B, 2P)."""
    ratio = batch.log_ratio
    first = torch.where(
        batch.paired, batch.log_intensity + log(2) - torch.log1p(torch.exp(-ratio)), batch.log_intensity
    )
    second = batch.log_intensity + log(2) - torch.log1p(torch.exp(ratio))
    q = torch.cat([batch.q, -batch.q], dim=1)
    present = torch.cat([batch.present, batch.present & batch.paired], dim=1)
    return q, torch.cat([first, second], dim=1), present
