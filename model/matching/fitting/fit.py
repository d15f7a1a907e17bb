"""The result of a fit: how well a candidate in one orientation explains the intensities of a pattern."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from model.matching.priors import LOSS_PROBABILITY

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# ln of the intensity over the detection limit from which a reflection is expected to be measured.
_EXPECTED_ABOVE_LIMIT = 1.0


@dataclass(frozen=True)
class MissingReflections:
    """The reflections within the range of a pattern that were not measured.

    Attributes:
        hk: (K, 2) indices of those that were expected.
        computed: (K,) their ln intensity on the measured scale.
        log_densities: (K,) ln of the probability of not having measured each.
        log_likelihood: ln of the probability of not having measured any of those not measured, expected or not.
        expected: number of reflections computed well above the detection limit, measured or not.
    """

    hk: IntArray
    computed: FloatArray
    log_densities: FloatArray
    log_likelihood: float
    expected: int

    @classmethod
    def from_intensities(
        cls,
        hk: IntArray,
        above_limit: FloatArray,
        is_in_range: BoolArray,
        measured: IntArray,
        log_detection_limit: float,
        sigma: FloatArray,
    ) -> Self:
        """Find the missing ones among M reflections.

        A reflection is missing because it was lost at random or because it is fainter than the detection limit.

        Args:
            hk: (M, 2) their indices.
            above_limit: (M,) ln of the computed intensity over the detection limit.
            is_in_range: (M,) whether each lies within the range of the pattern.
            measured: rows of the reflections that were measured.
            log_detection_limit: ln intensity of the faintest spots.
            sigma: (M,) expected rms error of `above_limit`.
        """
        unmeasured = is_in_range.copy()
        unmeasured[measured] = False
        log_density = np.zeros(len(above_limit))
        hidden = ndtr(-above_limit[unmeasured] / sigma[unmeasured])
        log_density[unmeasured] = np.log(LOSS_PROBABILITY + (1 - LOSS_PROBABILITY) * hidden)
        strong = above_limit > _EXPECTED_ABOVE_LIMIT
        missing = unmeasured & strong
        return cls(
            hk=hk[missing],
            computed=above_limit[missing] + log_detection_limit,
            log_densities=log_density[missing],
            log_likelihood=float(log_density.sum()),
            expected=int((is_in_range & strong).sum()),
        )


@dataclass(frozen=True)
class Fit:
    """The best explanation of a pattern's intensities by one candidate in one orientation.

    Attributes:
        tilt: (2,) tangents of the tilt in the crystal's frame.
        tilt_sigma: their standard uncertainty, the larger of the two; None where the tilt was not fitted.
        b_factor: Debye-Waller B, with the camera's response in it, angstrom^2; None where it was not fitted.
        b_factor_sigma: its standard uncertainty.
        computed: (N,) ln intensity of each spot on the measured scale, with the atoms where the library has them; NaN
            where the spot has no reflection.
        sigma: (K,) expected rms deviation from the measured ln intensity, for the K spots with a reflection.
        log_densities: (K,) ln likelihood of each of them, with the atoms displaced.
        missing: reflections within the range of the pattern that were not measured.
        log_prior: ln of the prior of all parameters and of the volume that the data leave to them (Laplace's
            approximation), summed over both kinds of pattern.
    """

    tilt: FloatArray
    tilt_sigma: float | None
    b_factor: float | None
    b_factor_sigma: float | None
    computed: FloatArray
    sigma: FloatArray
    log_densities: FloatArray
    missing: MissingReflections
    log_prior: float

    @cached_property
    def score(self) -> float:
        """Ln of likelihood and prior."""
        return float(self.log_densities.sum()) + self.missing.log_likelihood + self.log_prior
