"""The twin towers and their contrastive loss."""

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
        form: architecture of the towers.
        width: width W of a token.
        layers: number of blocks in each tower.
        heads: number of attention heads.
        feed: width of a block's feed-forward layer, in units of `width`.
        dimension: dimension D of the vectors.
    """

    form: Form = "physics"
    width: int = 192
    layers: int = 4
    heads: int = 6
    feed: int = 2
    dimension: int = 192

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise CheckpointError(f"Unknown form {self.form!r}; use one of {', '.join(FORMS)}.")
        sizes = (self.width, self.layers, self.heads, self.feed, self.dimension)
        if not all(isinstance(each, int) and each > 0 for each in sizes):
            raise CheckpointError("The sizes of the towers must be whole numbers above zero.")
        if self.width % self.heads:
            raise CheckpointError(f"The width, {self.width}, must be a multiple of the {self.heads} heads.")

    def to_json(self) -> dict[str, str | int]:
        """Return the fields for the JSON file of a checkpoint."""
        return asdict(self)


TOWER_SIZES: dict[Form, TowerSize] = {
    "physics": TowerSize("physics"),
    "sequence": TowerSize("sequence"),
    "dd2d": TowerSize("dd2d", width=384, layers=4, heads=4, feed=4, dimension=384),
}


class TwinTowers(nn.Module):
    """CGE and STE with their projections and the learned temperature."""

    def __init__(self, size: TowerSize) -> None:
        super().__init__()
        self.size = size
        self.cge: nn.Module
        self.ste: nn.Module
        layout = size.width, size.layers, size.heads, size.feed
        if size.form == "dd2d":
            self.cge, self.ste = PlainSequenceEncoder(*layout), PlainSpotEncoder(*layout)
        else:
            pair, bias, trunk = PairEmbedding(size.width), PairBias(size.layers, size.heads), Trunk(*layout)
            self.ste = SiteTextureEncoder(pair, bias, trunk, size.width)
            if size.form == "physics":
                self.cge = PhysicsEncoder(pair, bias, trunk, size.width)
            else:
                self.cge = SequenceEncoder(Trunk(*layout), size.width)
        self.project_crystal = nn.Linear(size.width, size.dimension, bias=False)
        shares = size.form == "physics"
        self.project_pattern = (
            self.project_crystal if shares else nn.Linear(size.width, size.dimension, bias=False)
        )
        self.log_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    def embed_crystals(self, batch: CrystalBatch) -> Tensor:
        """Return (B, D) unit vectors of crystals."""
        return functional.normalize(self.project_crystal(self.cge(batch)).float(), dim=-1)

    def embed_patterns(self, batch: PatternBatch) -> Tensor:
        """Return (B, D) unit vectors of patterns."""
        return functional.normalize(self.project_pattern(self.ste(batch)).float(), dim=-1)

    def inverse_temperature(self) -> Tensor:
        """Return the learned factor of the cosines, at most 100."""
        return self.log_scale.clamp(0, MAX_LOGIT_SCALE).exp()


def contrastive_loss(patterns: Tensor, crystals: Tensor, same: Tensor, scale: Tensor) -> Tensor:
    """Return the symmetric cross entropy of a batch of pairs (Eq. 4 of Fu et al. 2025).

    Args:
        patterns: (B, D) unit vectors.
        crystals: (B, D) unit vectors; row i is the crystal of pattern i.
        same: (B, B) whether crystals i and j are duplicates, which are not negatives (diagonal included).
        scale: inverse temperature.

    Returns:
        Scalar mean of both directions.
    """
    own = torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = (scale * patterns @ crystals.T).masked_fill(same & ~own, HIDDEN)
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
