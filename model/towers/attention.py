"""Transformer blocks with geometric attention bias.

Axes: B samples, T tokens, W width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Pre-norm transformer block (Eq. 3 of Fu et al. 2025) with an additive bias of the attention scores."""

    def __init__(self, width: int, heads: int, feed: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, feed * width), nn.ReLU(), nn.Linear(feed * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Transform tokens x (B, T, W); the bias is broadcast to (B, H, T, T)."""
        b, t, w = x.shape
        q, k, v = (
            self.qkv(self.norm_attention(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        )
        scores = torch.matmul(q * (w // self.heads) ** -0.5, k.transpose(-1, -2)) + bias
        mixed = torch.matmul(scores.softmax(dim=-1).to(v.dtype), v)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, w))
        fed: Tensor = x + self.feed(self.norm_feed(x))
        return fed


class PairBias(nn.Module):
    """Attention bias from the relative geometry of two Friedel pairs.

    The direction of a pair is arbitrary: exchanging q and -q flips the sign of its log ratio. Every feature is even
    under that exchange and invariant under rotation and mirror: Chebyshev polynomials of the angle (even orders), odd
    orders multiplied by both ratios, and the distance to the nearer member of the other pair.
    """

    EVEN_ORDERS = (2, 4, 6, 8, 12)
    ODD_ORDERS = (1, 3, 5)
    DISTANCES = 8
    REACH_INV_ANGSTROM = 0.9

    def __init__(self, layers: int, heads: int, hidden: int = 32) -> None:
        super().__init__()
        self.layers, self.heads = layers, heads
        features = len(self.EVEN_ORDERS) + len(self.ODD_ORDERS) + self.DISTANCES
        self.hidden = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, layers * heads)
        self.register_buffer(
            "centers", torch.linspace(0, self.REACH_INV_ANGSTROM, self.DISTANCES), persistent=False
        )

    def forward(self, q: Tensor, polarity: Tensor) -> Tensor:
        """Return biases (L, B, H, P, P) for all layers, given q (B, P, 2) and polarity (B, P) in -1 to 1."""
        features = self._compute_features(q.float(), polarity.float())
        raw = self.out(functional.relu(self.hidden(features)))
        b, p = q.shape[:2]
        biases: Tensor = raw.view(b, p, p, self.layers, self.heads).permute(3, 0, 4, 1, 2)
        return biases

    @torch.no_grad()
    def _compute_features(self, q: Tensor, polarity: Tensor) -> Tensor:
        length = q.norm(dim=-1).clamp_min(1e-6)
        unit = q / length[..., None]
        cosine = torch.matmul(unit, unit.transpose(1, 2)).clamp(-1, 1)
        odd = polarity[:, :, None] * polarity[:, None, :]
        chebyshev = [torch.ones_like(cosine), cosine]
        for _ in range(max(self.EVEN_ORDERS) - 1):
            chebyshev.append(2 * cosine * chebyshev[-1] - chebyshev[-2])
        squares = length[:, :, None] ** 2 + length[:, None, :] ** 2
        nearest = (squares - 2 * length[:, :, None] * length[:, None, :] * cosine.abs()).clamp_min(0).sqrt()
        centers: Tensor = self.get_buffer("centers")
        spacing = self.REACH_INV_ANGSTROM / (self.DISTANCES - 1)
        columns = [chebyshev[n] for n in self.EVEN_ORDERS] + [odd * chebyshev[n] for n in self.ODD_ORDERS]
        radial = (1 - ((nearest[..., None] - centers) / (1.5 * spacing)) ** 2).clamp_min(0)
        return torch.cat([torch.stack(columns, dim=-1), radial], dim=-1)


class Trunk(nn.Module):
    """A stack of blocks; both towers of the physics form share one."""

    def __init__(self, width: int, layers: int, heads: int, feed: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, feed) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, bias: Tensor | list[Tensor]) -> Tensor:
        """Transform tokens x (B, T, W) with one bias for all layers, or one for each."""
        for index, block in enumerate(self.blocks):
            x = block(x, bias[index] if isinstance(bias, list) else bias)
        normed: Tensor = self.norm(x)
        return normed


def mask_missing(present: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the (B, 1, 1, T) bias that hides missing tokens, given `present` (B, T)."""
    hidden = torch.zeros(present.shape, dtype=dtype, device=present.device).masked_fill(~present, -1e4)
    return hidden[:, None, None, :]


def fourier_features(value: Tensor, wavelengths: Tensor) -> Tensor:
    """Return sin and cos of 2 pi value / wavelength, (..., 2 K) for K wavelengths."""
    phase = value[..., None] * (2 * torch.pi / wavelengths)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)
