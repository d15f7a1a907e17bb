"""How much of a verification is computed."""

from dataclasses import dataclass
from typing import Literal

from model.pattern.spots import Spots

Effort = Literal["verify", "full"]


@dataclass(frozen=True)
class Depth:
    """How much is computed.

    Attributes:
        layers: candidates whose intensities are computed at all, those nearest by the towers first.
        fits: candidates that are refined.
        starts: settings and tilts from which each is refined.
    """

    layers: int
    fits: int
    starts: int


_DEPTHS: dict[Effort, Depth] = {"verify": Depth(32, 24, 2), "full": Depth(400, 60, 2)}
# Of patterns without intensities the towers are less sure, and nothing is fitted to them, which takes time.
_DEPTH_WITHOUT_INTENSITIES = Depth(400, 60, 1)


def depth_of(effort: Effort, spots: Spots) -> Depth:
    """How much is computed for a pattern."""
    return _DEPTHS[effort] if spots.intensity is not None else _DEPTH_WITHOUT_INTENSITIES
