"""How much of a verification is computed."""

from dataclasses import dataclass
from typing import Literal

from model.pattern.spots import Spots

Effort = Literal["verify", "full"]


@dataclass(frozen=True)
class Depth:
    """How much is computed.

    Attributes:
        pool: candidates that the towers, and the lattice, have to give.
        layers: of those whose lattice fits, how many have their intensities computed, the nearest by the towers.
        less_similar: than the most similar of them by so much at most, but for the fewest.
        fewest_layers: so many are in any case.
        trials: how many of these are fitted roughly.
        fits: how many of these, at most, are fitted with shifted atoms.
        fewest_fits: so many are in any case, though they be hopeless.
        starts: settings and tilts from which each is refined.
        matched: so many of the first in the ranking have a match, though they were not refined.
    """

    pool: int
    layers: int
    less_similar: float
    fewest_layers: int
    trials: int
    fits: int
    fewest_fits: int
    starts: int
    matched: int


_DEPTHS: dict[Effort, Depth] = {
    "verify": Depth(
        pool=64,
        layers=20,
        less_similar=0.12,
        fewest_layers=6,
        trials=18,
        fits=10,
        fewest_fits=3,
        starts=3,
        matched=10,
    ),
    "full": Depth(
        pool=2000,
        layers=1500,
        less_similar=0.12,
        fewest_layers=30,
        trials=400,
        fits=150,
        fewest_fits=30,
        starts=8,
        matched=100,
    ),
}
# Of patterns without intensities the towers are less sure, and nothing is fitted to them, which takes time.
_DEPTH_WITHOUT_INTENSITIES = Depth(
    pool=400,
    layers=400,
    less_similar=2.0,
    fewest_layers=400,
    trials=60,
    fits=60,
    fewest_fits=60,
    starts=1,
    matched=60,
)


def choose_depth(effort: Effort, spots: Spots) -> Depth:
    """How much is computed for a pattern."""
    return _DEPTHS[effort] if spots.intensity is not None else _DEPTH_WITHOUT_INTENSITIES
