"""The twin towers and the objective that pulls a pattern to its crystal."""

from dataclasses import asdict, dataclass
from math import log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.errors import CheckpointError
from model.towers.attention import PairBias, Trunk
from model.towers.cge import PhysicsEncoder, SequenceEncoder
from model.towers.dd2d import PlainSequenceEncoder, PlainSpotEncoder
from model.towers.ste import PairEmbedding, SiteTextureEncoder
from model.towers.tokens import CrystalBatch, PatternBatch

Form = Literal["physics", "sequence", "dd2d"]
FORMS: tuple[Form, ...] = ("physics", "sequence", "dd2d")
MAX_LOGIT_SCALE = log(100.0)
HIDDEN = -1e4


@dataclass(frozen=True)
class TowerSize:
    """Form and size of a pair of towers.

    Attributes:
        form: which towers.
        width: of a token.
        layers: blocks of each tower.
        heads: of the attention.
        feed: width of a block's feed-forward layer, in units of `width`.
        dimension: D of the embeddings.
    """

    form: Form = "physics"
    width: int = 192
    layers: int = 4
    heads: int = 6
    feed: int = 2
    dimension: int = 192

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise CheckpointError(f"unknown form {self.form!r}; the forms are {', '.join(FORMS)}")
        if self.width % self.heads:
            raise CheckpointError(f"width {self.width} is no multiple of {self.heads} heads")

    def to_json(self) -> dict[str, str | int]:
        """The fields, for a checkpoint's JSON."""
        return asdict(self)


TOWER_SIZES: dict[Form, TowerSize] = {
    "physics": TowerSize("physics"),
    "sequence": TowerSize("sequence"),
    "dd2d": TowerSize("dd2d", width=384, layers=4, heads=4, feed=4, dimension=384),
}


class TwinTowers(nn.Module):
    """CGE and STE with their projections and the learned temperature."""

    def __init__(self, shape: TowerSize) -> None:
        super().__init__()
        self.shape = shape
        self.cge: nn.Module
        self.ste: nn.Module
        size = shape.width, shape.layers, shape.heads, shape.feed
        if shape.form == "dd2d":
            self.cge, self.ste = PlainSequenceEncoder(*size), PlainSpotEncoder(*size)
        else:
            pair, bias, trunk = PairEmbedding(shape.width), PairBias(shape.layers, shape.heads), Trunk(*size)
            self.ste = SiteTextureEncoder(pair, bias, trunk, shape.width)
            if shape.form == "physics":
                self.cge = PhysicsEncoder(pair, bias, trunk, shape.width)
            else:
                self.cge = SequenceEncoder(Trunk(*size), shape.width)
        self.project_crystal = nn.Linear(shape.width, shape.dimension, bias=False)
        shares = shape.form == "physics"
        self.project_pattern = (
            self.project_crystal if shares else nn.Linear(shape.width, shape.dimension, bias=False)
        )
        self.log_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    def crystals(self, batch: CrystalBatch) -> Tensor:
        """(B, D) unit vectors G of crystals."""
        return functional.normalize(self.project_crystal(self.cge(batch)).float(), dim=-1)

    def patterns(self, batch: PatternBatch) -> Tensor:
        """(B, D) unit vectors T of patterns."""
        return functional.normalize(self.project_pattern(self.ste(batch)).float(), dim=-1)

    def scale(self) -> Tensor:
        """Inverse temperature, clamped to 100."""
        return self.log_scale.clamp(0, MAX_LOGIT_SCALE).exp()


def contrastive_loss(patterns: Tensor, crystals: Tensor, same: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross entropy of a batch of pairs (Eq. 4 of Fu et al. 2025).

    Args:
        patterns: (B, D) unit vectors.
        crystals: (B, D) unit vectors; row i belongs to pattern i.
        same: (B, B) crystals i and j are duplicates, so no negatives of each other (diagonal included).
        scale: inverse temperature.

    Returns:
        Scalar: mean of the two directions.
    """
    own = torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = (scale * patterns @ crystals.T).masked_fill(same & ~own, HIDDEN)
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
