"""What is expected of a flake and a camera before the pattern is seen."""

from dataclasses import dataclass
from math import log

TILT_SIGMA = 0.045
"""rms of each component of the tilt, radians."""
B_EXPECTED, B_SIGMA, B_RANGE = 0.35, 0.6, (-1.5, 4.0)
"""Debye-Waller B with the camera's response in it, angstrom^2: mean, rms, and what is possible."""


@dataclass(frozen=True)
class DiffuseShare:
    """How much of the thermal diffuse scattering (`Unrest.diffuse`) lies within the spots: normal in its logarithm.

    Attributes:
        expected: of the logarithm.
        sigma: its rms.
        log_odds: ln of how likely such patterns are, over the others.
    """

    expected: float
    sigma: float
    log_odds: float


BRAGG_ALONE, DIFFUSE_TOO = DiffuseShare(log(0.003), 0.5, 0.0), DiffuseShare(log(0.3), 1.0, -3.0)
"""Spot finders take off what lies between the spots. What gathers about the beams they cannot, nor what a simulation of
a single cell puts there."""
