"""Crystallographic geometric encoder (CGE): maps a crystal to a vector."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.towers.attention import PairBias, Trunk, fourier_features, mask_missing
from model.towers.ste import PairEmbedding
from model.towers.tokens import ROD_HEIGHTS_INV_ANGSTROM, CrystalBatch

POSITION_WAVELENGTHS = (32.0, 16.0, 8.0, 4.0, 2.0, 1.0)
CELL_WAVELENGTHS = (64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5)
ELEMENT_EMBEDDINGS = 104


class SequenceEmbedding(nn.Module):
    """The paper's sequence: [CLS_start], the cell, [CLS_end], then the atoms with element and position.

    [CLS_start] attends only to itself and the cell, so one class token represents the lattice, the other the content.
    This holds in the first layer; later the token of the cell contains information on the atoms, as in the paper.
    """

    START, CELL, END, ATOMS = 0, 1, 2, 3

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("position_waves", torch.tensor(POSITION_WAVELENGTHS), persistent=False)
        self.register_buffer("cell_waves", torch.tensor(CELL_WAVELENGTHS), persistent=False)
        self.class_tokens = nn.Parameter(torch.randn(2, width) * 0.02)
        self.cell = nn.Linear(6 * 2 * len(CELL_WAVELENGTHS), width)
        self.element = nn.Embedding(ELEMENT_EMBEDDINGS, width)
        self.position = nn.Linear(3 * 2 * len(POSITION_WAVELENGTHS), width)

    def forward(self, batch: CrystalBatch) -> Tensor:
        """Return (B, 3 + N, W) tokens in the order START, CELL, END, atoms."""
        angles = batch.cell[:, 3:] / 10
        cell = fourier_features(
            torch.cat([batch.cell[:, :3], angles], dim=1), self.get_buffer("cell_waves")
        ).flatten(1)
        position = fourier_features(batch.positions, self.get_buffer("position_waves")).flatten(2)
        atoms = self.element(batch.numbers) + self.position(position)
        cell = self.cell(cell)[:, None]
        start, end = (token.to(cell.dtype).expand(len(batch), 1, -1) for token in self.class_tokens)
        return torch.cat([start, cell, end, atoms.to(cell.dtype)], dim=1)

    @classmethod
    def mask_start(cls, tokens: int, dtype: torch.dtype) -> Tensor:
        """Return the (T, T) bias under which [CLS_start] attends only to itself and the cell."""
        mask = torch.zeros(tokens, tokens, dtype=dtype)
        mask[cls.START, cls.END :] = -1e4
        return mask


class SequenceEncoder(nn.Module):
    """CGE that uses only the paper's sequence."""

    def __init__(self, trunk: Trunk, width: int) -> None:
        super().__init__()
        self.trunk, self.sequence = trunk, SequenceEmbedding(width)
        self.join = nn.Linear(2 * width, width)

    def forward(self, batch: CrystalBatch) -> Tensor:
        """Return (B, W) from the outputs of both class tokens."""
        x = self.sequence(batch)
        present = functional.pad(batch.numbers > 0, (SequenceEmbedding.ATOMS, 0), value=True)
        bias = mask_missing(present, x.dtype) + SequenceEmbedding.mask_start(x.shape[1], x.dtype)
        output = self.trunk(x, bias)
        joined: Tensor = self.join(output[:, [SequenceEmbedding.START, SequenceEmbedding.END]].flatten(1))
        return joined


class PhysicsEncoder(nn.Module):
    """CGE that uses the sequence and the rods of the reciprocal lattice.

    A rod token holds the intensities at seven heights, and so the response of each reflection to a tilt. The embedding
    of pairs, the bias and the trunk are shared with the STE: a rod resembles the Friedel pair that is measured from it.
    """

    def __init__(self, pair: PairEmbedding, bias: PairBias, trunk: Trunk, width: int) -> None:
        super().__init__()
        self.pair, self.bias, self.trunk = pair, bias, trunk
        self.sequence = SequenceEmbedding(width)
        self.rod = nn.Linear(4 + 3 + 2, width)
        self.from_start = nn.Linear(width, width)
        nn.init.zeros_(self.from_start.weight)

    def forward(self, batch: CrystalBatch) -> Tensor:
        """Return (B, W) from the outputs of both class tokens."""
        level, features, polarity = compute_rod_features(batch.rods, batch.q.norm(dim=-1))
        pairs = self.pair(batch.q.norm(dim=-1), level, self.rod(features))
        sequence = self.sequence(batch)
        x = torch.cat([sequence.to(pairs.dtype), pairs], dim=1)
        atoms = functional.pad(batch.numbers > 0, (SequenceEmbedding.ATOMS, 0), value=True)
        present = torch.cat([atoms, batch.present], dim=1)
        offset = sequence.shape[1]
        geometry = functional.pad(self.bias(batch.q, polarity), (offset, 0, offset, 0))
        hidden = mask_missing(present, geometry.dtype)
        hidden = hidden + SequenceEmbedding.mask_start(x.shape[1], geometry.dtype)
        output = self.trunk(x, [layer + hidden for layer in geometry])
        start = self.from_start(output[:, SequenceEmbedding.START])
        joined: Tensor = output[:, SequenceEmbedding.END] + start
        return joined


def compute_rod_features(rods: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute level, features and polarity of rods.

    They do not depend on the choice between q and -q. Exchanging both reverses the rod: its even part is unchanged, its
    odd part changes sign. So only magnitudes and products of odd parts are features, and the polarity carries the sign.

    Args:
        rods: (B, P, G) ln intensities at heights symmetric about 0.
        length: (B, P) |q|, 1/angstrom.

    Returns:
        level (B, P) ln intensity near q_z = 0; features (B, P, 9); polarity (B, P), the tanh of the log ratio
        that the curvature of the Ewald sphere causes at 80 kV without tilt.
    """
    middle = rods.shape[-1] // 2
    after, before = rods[..., middle + 1 :], rods[..., :middle].flip(-1)
    even, odd = (after + before) / 2, after - before
    level = (2 * even[..., 0] + rods[..., middle]) / 3
    step = ROD_HEIGHTS_INV_ANGSTROM[middle + 1]
    ewald = 0.0209 * length**2 / step
    products = torch.stack([odd[..., 0] * odd[..., 1], odd[..., 0] * odd[..., 2]], dim=-1)
    features = torch.cat(
        [
            torch.cat([rods[..., middle : middle + 1], even], dim=-1) / 5,
            torch.tanh(odd.abs() / 2),
            torch.tanh(products / 4),
        ],
        dim=-1,
    )
    return level, features, torch.tanh(odd[..., 0] * ewald)
