"""Schedule of a training run: duration, learning rate and content of the steps."""

from dataclasses import dataclass

from model.errors import OptionError
from model.training.pool import Regime


@dataclass(frozen=True)
class Schedule:
    """Settings of a training run.

    Attributes:
        minutes: training time.
        batch: crystals in a step.
        views: patterns of each crystal in a step; the crystal is embedded once.
        rate: peak learning rate.
        warm_up: steps until the peak.
        decay: final share of the time over which the rate falls to zero.
        short: initial share of the time with few tokens, which makes steps fast.
        short_pairs: number of strongest pairs kept during that time.
        atoms_hidden: share of the crystals whose atoms are hidden in the physics form: rods generalize, the sequence
            is memorized.
        neighborhoods_from: share of the time after which batches consist of neighborhoods, which are hard negatives.
        leaf: crystals in a neighborhood.
        per_formula: largest number of crystals of one formula in an epoch: bilayers have hundreds of similar
            stackings.
        quiet: share of the views from a careful measurement.
        perfect: share of these with an ideal pattern: no tilt, no displacements, kinematic.
        evaluate_minutes: time between validations.
        patience: validations without improvement until training stops.
        regime: whether an instrument is applied to the patterns ("library") or not ("paper").
        workers: number of threads.
        seed: seed of weights, order and noise.
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
                raise OptionError(f"{name} is {getattr(self, name)}; it must be positive.")

    def compute_rate(self, step: int, elapsed_s: float) -> float:
        """Return the learning rate: linear warm-up, plateau, linear decay over the last part of the time."""
        left = 1 - min(elapsed_s / (self.minutes * 60), 1.0)
        return self.rate * min((step + 1) / self.warm_up, 1.0, left / self.decay)
