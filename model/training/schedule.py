"""The schedule of a training run: its duration, its learning rate, and what its steps contain."""

from dataclasses import dataclass

from model.errors import OptionError
from model.training.pool import Regime


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        minutes: training time.
        batch: crystals a step.
        views: patterns of each crystal in a step; the crystal is embedded once for all of them.
        rate: peak learning rate.
        warm_up: steps until the peak.
        decay: share of the time, at its end, over which the rate falls to zero.
        short: share of the time, at its beginning, in which tokens are few, so that steps are fast.
        short_pairs: the strongest pairs that are kept then.
        atoms_hidden: share of the crystals whose atoms the physics form does not see: the rods generalise, the
            sequence memorises.
        neighborhoods_from: share of the time after which batches are made of neighbourhoods, so that their
            negatives are hard.
        leaf: crystals a neighbourhood in a batch.
        per_formula: most crystals of one formula in an epoch: the stackings of a bilayer's two layers are hundreds
            and teach little that is new.
        quiet: share of the views that a patient measurement gives.
        perfect: share of these whose pattern is perfect too: straight, still and kinematic.
        evaluate_minutes: time between validations.
        patience: validations without improvement until training stops.
        regime: whether patterns go through an instrument ("library") or come as the pool has them ("paper").
        workers: threads.
        seed: of weights, order and noise.
    """

    minutes: float = 60.0
    batch: int = 192
    views: int = 2
    rate: float = 2e-3
    warm_up: int = 50
    decay: float = 0.6
    short: float = 0.3
    short_pairs: int = 32
    atoms_hidden: float = 0.5
    neighborhoods_from: float = 0.3
    leaf: int = 16
    per_formula: int = 4
    quiet: float = 0.35
    perfect: float = 0.5
    evaluate_minutes: float = 10.0
    patience: int = 8
    regime: Regime = "library"
    workers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "batch", "views", "rate", "workers", "per_formula"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it has to be positive")

    def rate_at(self, step: int, elapsed_s: float) -> float:
        """Linear warm-up, a plateau, and a linear decay over the last part of the time budget."""
        left = 1 - min(elapsed_s / (self.minutes * 60), 1.0)
        return self.rate * min((step + 1) / self.warm_up, 1.0, left / self.decay)
