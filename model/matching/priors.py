"""Prior knowledge, independent of the pattern: cell, camera, tilt, thermal motion, atoms and noise.

Every prior of the verification is a constant of this module. `docs/probabilities.md` lists them.
"""

from dataclasses import dataclass
from math import log

import numpy as np

CELL_SIGMA = 0.0125
"""rms error of ln of the lengths of a computed cell: density functional theory is 1 to 1.5 % off."""
DISTORTION_SIGMA = 0.006
"""rms of ln of the ratio of the axes into which camera and strain distort a circle."""
TILT_SIGMA_RAD = 0.045
"""rms of each of the two components of the tilt, radians (2.6 degrees)."""
B_MEAN, B_SIGMA, B_RANGE = 0.35, 0.6, (-1.5, 4.0)
"""Mean, rms and limits of the Debye-Waller factor B, which includes the camera's response, angstrom^2."""
DISPLACEMENT_SIGMA_ANGSTROM = 0.02
"""rms displacement of an atom along each axis of the plane: the unit of all fitted displacements."""
SYMMETRY_BREAKING_SIGMAS = np.array([0.05, 0.25, 0.5, 1.0, 1.5, 2.5])
"""Possible rms of the displacements that break the layer's symmetry, over `DISPLACEMENT_SIGMA_ANGSTROM`."""
MODEL_SIGMA = 0.04
"""rms error of ln I that the multislice leaves."""
SPOT_SIGMAS = np.array([0.1, 0.14, 0.2, 0.28, 0.38, 0.5, 0.65, 0.85])
"""Possible rms errors of ln I that camera and spot finder leave."""
SPOT_SIGMA_MEDIAN, SPOT_SIGMA_LOG_SPREAD = SPOT_SIGMAS[2], 0.8
"""The likeliest of them, and the rms of ln of the ratio to it."""
FAINT_INTENSITY, INTENSITY_FLOOR = 6e-4, 3e-4
"""Diffuse scattering and relaxed atoms fill in faint reflections: their ln I is uncertain, and never very low.

The first divided by the intensity is their variance; the second is added to the intensity.
"""
NOISE_FREEDOM = 12.0
"""Degrees of freedom of Student's t, the distribution of ln I in a refinement."""
LOSS_PROBABILITY = 0.06
"""Probability that a reflection is missing though it is bright enough."""
SIMILARITY_WEIGHT = 40.0
"""Units of ln likelihood that a similarity higher by 1 is worth: an increase of 0.025 is worth one unit."""


@dataclass(frozen=True)
class DisorderPrior:
    """The prior of the deviations of the atoms from a perfect crystal at rest, for one kind of pattern.

    Attributes:
        log_diffuse: mean of ln of the share of the thermal diffuse scattering that lies within the spots.
        log_diffuse_sigma: its rms.
        symmetric_sigma: rms of the displacements that keep the layer's symmetry, over `DISPLACEMENT_SIGMA_ANGSTROM`.
        breaking_sigma: the likeliest rms of the displacements that break it; each fit chooses its own.
        breaking_log_spread: rms of ln of the ratio to that.
    """

    log_diffuse: float
    log_diffuse_sigma: float
    symmetric_sigma: float
    breaking_sigma: float
    breaking_log_spread: float


AT_REST = DisorderPrior(log(0.003), 0.5, symmetric_sigma=1.0, breaking_sigma=1.0, breaking_log_spread=1.5)
"""A pattern whose spot finder subtracts the diffuse scattering between the spots."""
SNAPSHOTS = DisorderPrior(0.0, 0.3, symmetric_sigma=1.5, breaking_sigma=1.5, breaking_log_spread=0.3)
"""The mean of a few snapshots of one unit cell, as frozen-phonon simulations make it.

All diffuse scattering of its moving atoms lies within the spots. The mean displacements break the symmetry: with four
snapshots, they are half of the 0.06 angstrom of each. Diffuse scattering that gathers near the reflections of a real
camera is not subtracted by a spot finder either. Both kinds of pattern are equally likely before the measurement.
"""

LEVEL, B_FACTOR, TILT, LOG_DIFFUSE, DISPLACEMENTS = 0, 1, slice(2, 4), 4, slice(5, None)
"""Columns of a fit's parameters (J, Q): level of ln I, B, tangents of the tilt, ln of the diffuse share, displacements.

Displacements are in units of `DISPLACEMENT_SIGMA_ANGSTROM`. A rough fit has the first five columns.
"""
PARAMETER_MEAN = np.array([0.0, B_MEAN, 0.0, 0.0, AT_REST.log_diffuse])
"""Prior mean of the first five parameters."""
PARAMETER_PRECISION = np.array(
    [1e-6, B_SIGMA**-2, TILT_SIGMA_RAD**-2, TILT_SIGMA_RAD**-2, AT_REST.log_diffuse_sigma**-2]
)
"""Reciprocal of their prior variance; the level is practically free."""
