"""The result of a fit: how well a candidate explains a pattern's intensities, and the reflections that are missing.

Axes: J fits, N spots, M reflections of a candidate, K' directions of displacements, Q parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from model.matching.fitting.candidate_diffraction import FitStart, IntensityModel
from model.matching.fitting.displacements import DisplacementResponse
from model.matching.fitting.likelihood import IntensityNoise, compute_log_slopes
from model.matching.priors import B_FACTOR, DISPLACEMENTS, LEVEL, LOG_DIFFUSE, LOSS_PROBABILITY, TILT

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

INNER_MARGIN_INV_ANGSTROM = 0.02
"""Reflections may be this much nearer to the direct beam than the innermost spot and still be expected."""
# ln of the intensity over the detection limit from which a reflection is expected to be measured.
_EXPECTED_ABOVE_LIMIT = 1.0
# A reflection that is fainter than the detection limit by this, as ln I, is hidden whatever its uncertainty.
_CLEARLY_HIDDEN = 3.0


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
        """Find the missing reflections among M.

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
        """Log of likelihood times prior."""
        return float(self.log_densities.sum()) + self.missing.log_likelihood + self.log_prior


@dataclass(frozen=True)
class _Prediction:
    """All M reflections of a candidate as one fit predicts them.

    Attributes:
        amplitude: (M,) amplitudes.
        intensity: (M,) intensities, with diffuse scattering.
        above_limit: (M,) ln of the intensity over the detection limit.
        is_in_range: (M,) whether each lies within the range of the pattern.
    """

    amplitude: ComplexArray
    intensity: FloatArray
    above_limit: FloatArray
    is_in_range: BoolArray


def find_missing_reflections(
    model: IntensityModel,
    responses: Sequence[DisplacementResponse],
    parameters: FloatArray,
    covariance: FloatArray,
    noise: IntensityNoise,
) -> list[MissingReflections]:
    """Find the reflections that each of J fits predicts and the pattern does not show.

    Args:
        model: what was fitted.
        responses: (J,) of all reflections of each candidate.
        parameters: (J, Q) fitted parameters.
        covariance: (J, Q, Q) their covariance.
        noise: of ln I.
    """
    amplitudes = model.compute_amplitudes(parameters[:, TILT])
    predictions = [
        _predict_reflections(*fit)
        for fit in zip(model.starts, model.used, responses, amplitudes, parameters, strict=True)
    ]
    sigmas = _estimate_sigmas(predictions, responses, covariance, noise)
    return [
        MissingReflections.from_intensities(
            start.candidate.diffraction.hk,
            predicted.above_limit,
            predicted.is_in_range,
            rows[used],
            start.candidate.observed.log_detection_limit,
            sigma,
        )
        for start, predicted, rows, used, sigma in zip(
            model.starts, predictions, model.rows, model.used, sigmas, strict=True
        )
    ]


def _estimate_sigmas(
    predictions: Sequence[_Prediction],
    responses: Sequence[DisplacementResponse],
    covariance: FloatArray,
    noise: IntensityNoise,
) -> list[FloatArray]:
    """Return the rms error (M,) of the ln intensities that each fit predicts, from noise and fitted displacements."""
    sigmas = []
    for row, predicted in enumerate(predictions):
        variance, response = noise.compute_variance(predicted.intensity), responses[row].amplitudes
        # The uncertainty of clearly hidden reflections does not matter.
        near = predicted.is_in_range & (predicted.above_limit > -_CLEARLY_HIDDEN)
        slopes = compute_log_slopes(predicted.amplitude[near], response[near], predicted.intensity[near])
        fitted = slice(DISPLACEMENTS.start, DISPLACEMENTS.start + response.shape[1])
        variance[near] += np.einsum("mk,mk->m", slopes @ covariance[row, fitted, fitted], slopes)
        sigmas.append(np.sqrt(variance))
    return sigmas


def _predict_reflections(
    start: FitStart,
    used: BoolArray,
    response: DisplacementResponse,
    amplitude: ComplexArray,
    parameters: FloatArray,
) -> _Prediction:
    """Compute all reflections of a candidate, given their amplitudes (M,) at rest and one fit's parameters (Q,)."""
    candidate, observed = start.candidate, start.candidate.observed
    q = candidate.diffraction.hk @ candidate.variants.bases[start.variant]
    q_squared = np.einsum("md,md->m", q, q)
    displacements = parameters[DISPLACEMENTS][: response.amplitudes.shape[1]].astype(np.complex64)
    amplitude = amplitude + response.amplitudes @ displacements
    diffuse = np.exp(parameters[LOG_DIFFUSE]) * response.diffuse
    intensity = np.abs(amplitude).astype(np.float64) ** 2 + diffuse
    level, b = float(parameters[LEVEL]), float(parameters[B_FACTOR])
    above_limit = np.log(intensity + 1e-6) + level - b * q_squared / 2 - observed.log_detection_limit
    is_in_range = _is_in_range(q_squared, observed.q_squared[used])
    if len(observed.masks):
        is_in_range &= observed.is_visible(q)
    return _Prediction(amplitude, intensity, above_limit, is_in_range)


def _is_in_range(q_squared: FloatArray, measured: FloatArray) -> BoolArray:
    """Return which reflections lie between the innermost and the outermost indexed spot, given all |q|^2."""
    if not len(measured):
        return np.zeros(len(q_squared), dtype=bool)
    inner = max(float(np.sqrt(measured.min())) - INNER_MARGIN_INV_ANGSTROM, 0.0)
    # Rounding must not decide whether the other reflections at the outermost spot's |q| are in range: they are.
    return np.asarray((q_squared < measured.max() * (1 + 1e-6)) & (q_squared > inner**2))
