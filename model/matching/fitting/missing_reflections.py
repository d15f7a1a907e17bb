"""The reflections that a candidate predicts and the pattern does not show.

Axes: J fits, N spots, M reflections of a candidate, K' directions of displacements, Q parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.displacements import DisplacementResponse
from model.matching.fitting.fit import MissingReflections
from model.matching.fitting.intensity_model import FitStart, IntensityModel
from model.matching.fitting.likelihood import IntensityNoise, compute_log_slopes
from model.matching.priors import B_FACTOR, DISPLACEMENTS, LEVEL, LOG_DIFFUSE, TILT

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

INNER_MARGIN_INV_ANGSTROM = 0.02
"""Reflections may be this much nearer to the direct beam than the innermost spot and still be expected."""
# A reflection that is fainter than the detection limit by this, as ln I, is hidden whatever its uncertainty.
_CLEARLY_HIDDEN = 3.0


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
    sigmas = []
    for row, predicted in enumerate(predictions):
        variance, response = noise.variance(predicted.intensity), responses[row].amplitudes
        # The uncertainty of clearly hidden reflections does not matter.
        near = predicted.is_in_range & (predicted.above_limit > -_CLEARLY_HIDDEN)
        slopes = compute_log_slopes(predicted.amplitude[near], response[near], predicted.intensity[near])
        fitted = slice(DISPLACEMENTS.start, DISPLACEMENTS.start + response.shape[1])
        variance[near] += np.einsum("mk,mk->m", slopes @ covariance[row, fitted, fitted], slopes)
        sigmas.append(np.sqrt(variance))
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
