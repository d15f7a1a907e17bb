"""What is expected of a flake and a camera before the pattern is seen."""

from dataclasses import dataclass
from math import log

CELL_SIGMA = 0.0125
"""rms error of the logarithm of a computed cell's lengths: they are off by 1 to 1.5 %."""
TILT_SIGMA = 0.045
"""rms of each component of the tilt, radians."""
B_EXPECTED, B_SIGMA, B_RANGE = 0.35, 0.6, (-1.5, 4.0)
"""Debye-Waller B with the camera's response in it, angstrom^2: mean, rms, and what is possible."""


@dataclass(frozen=True)
class Disorder:
    """What is expected of a kind of pattern, of whose atoms and beams not all is as in the resting crystal.

    Attributes:
        log_share: ln of the share of the thermal diffuse scattering (`Unrest.diffuse`) that lies within the spots.
        log_share_sigma: its rms.
        symmetric: rms of the atoms' shifts that keep the layer's symmetry, over `DISPLACEMENT_SIGMA_ANGSTROM`.
        breaking: the same of those that break it, the likeliest; each fit has its own.
        log_breaking_sigma: rms of its logarithm.
    """

    log_share: float
    log_share_sigma: float
    symmetric: float
    breaking: float
    log_breaking_sigma: float


AT_REST = Disorder(log(0.003), 0.5, symmetric=1.0, breaking=1.0, log_breaking_sigma=1.5)
"""Spot finders take off what lies between the spots; how far atoms break the symmetry is each crystal's own."""
SNAPSHOTS = Disorder(0.0, 0.3, symmetric=1.5, breaking=1.5, log_breaking_sigma=0.3)
"""The mean of a few snapshots of one cell, as simulations of frozen phonons are: all that its moving atoms scatter
without order is within the spots, and their mean shifts, half of the 0.06 angstrom of each if there are four, break
the symmetry. What gathers about the beams of a camera a spot finder cannot take off either. Neither kind is the
likelier before the pattern is seen."""
