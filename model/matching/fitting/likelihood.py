"""The likelihood of a pattern's intensities: its noise, its maximum by least squares, and its evidence.

The deviation of a measured ln I from the computed one follows Student's t, so that outliers have little weight. The
maximum is found by iteratively reweighted least squares (Lange, Little & Taylor, J. Am. Stat. Assoc. 84, 881, 1989).
The evidence integrates the parameters by Laplace's approximation (Tierney & Kadane, J. Am. Stat. Assoc. 81, 82, 1986).
Axes: J fits, N spots, Q parameters (the columns of `model.matching.priors`), K derivatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from model.matching.priors import (
    B_FACTOR,
    B_RANGE,
    DISPLACEMENTS,
    FAINT_INTENSITY,
    INTENSITY_FLOOR,
    LEVEL,
    LOG_DIFFUSE,
    TILT,
)
from model.physics.tilt_series import MAX_TILT_TANGENT, list_exponents

if TYPE_CHECKING:
    from model.matching.fitting.candidate_diffraction import IntensityModel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Complexes = NDArray[np.complexfloating[Any, Any]]

MAX_TILT_STEP = 0.025
"""Largest change of the tangents of the tilt in one step."""
_MAX_LOG_DIFFUSE_STEP = 1.5


@dataclass(frozen=True)
class IntensityNoise:
    """Noise of ln I: Student's t, with a variance that grows toward faint reflections.

    Attributes:
        model_sigma: rms error that the computed intensities leave.
        spot_sigma: rms error that camera and spot finder leave.
        freedom: degrees of freedom of Student's t; the fewer, the more frequent are outliers.
    """

    model_sigma: float
    spot_sigma: float
    freedom: float

    def compute_variance(self, intensity: Floats) -> FloatArray:
        """Return the expected variance of ln I of reflections with these relative intensities."""
        return np.asarray(self.model_sigma**2 + self.spot_sigma**2 + FAINT_INTENSITY / (intensity + 1e-3))

    def compute_log_density(self, residual: Floats, variance: Floats) -> FloatArray:
        """Return the log density of a residual, up to a constant."""
        tails = np.log1p(residual**2 / (self.freedom * variance))
        return np.asarray(-(self.freedom + 1) / 2 * tails - np.log(variance) / 2)

    def compute_robust_weight(self, residual: Floats, variance: Floats) -> FloatArray:
        """Return the weight of a residual in the reweighted least squares that maximize `compute_log_density`."""
        return np.asarray((self.freedom + 1) / (self.freedom + residual**2 / variance) / variance)

    def compute_curvature(self, variance: Floats) -> FloatArray:
        """Return the Fisher information: the expected negative second derivative of `compute_log_density`."""
        return np.asarray((self.freedom + 1) / (self.freedom + 3) / variance)


ROUGH_NOISE = IntensityNoise(model_sigma=0.2, spot_sigma=0.15, freedom=4.0)
"""Noise of a rough fit: as its atoms do not move, their displacements are part of the model's error."""


def compute_log_slopes(amplitude: Complexes, slopes: Complexes, intensity: Floats) -> Floats:
    """Return the derivatives of ln(I + `INTENSITY_FLOOR`).

    Args:
        amplitude: (...) amplitudes.
        slopes: (..., K) their derivatives.
        intensity: (...) intensities I.

    Returns:
        (..., K) derivatives.
    """
    steep: Floats = 2 * (amplitude.conj()[..., None] * slopes).real
    return np.asarray(steep / (intensity + INTENSITY_FLOOR)[..., None])


@dataclass(frozen=True)
class NormalPrior:
    """Independent normal priors of the parameters of J fits.

    Attributes:
        mean: (..., J, Q) their means.
        precision: (..., J, Q) the reciprocals of their variances.
    """

    mean: FloatArray
    precision: FloatArray

    def take(self, rows: Sequence[int]) -> Self:
        """Return the priors of these fits; a fit may be repeated."""
        kept = list(rows)
        return type(self)(self.mean[kept], self.precision[kept])

    @property
    def information(self) -> FloatArray:
        """(..., J, Q, Q) the information matrices of the prior alone."""
        return np.asarray(self.precision[..., None] * np.eye(self.precision.shape[-1]))

    def compute_log_density(self, parameters: FloatArray, information: FloatArray) -> FloatArray:
        """Return the log of the prior times the posterior volume of all parameters except the level.

        Args:
            parameters: (..., J, Q) fitted parameters.
            information: (..., J, Q, Q) information of data and prior together.

        Returns:
            (..., J) the Laplace approximation's contribution of prior and volume.
        """
        off, precision = (parameters - self.mean)[..., 1:], self.precision[..., 1:]
        volume = np.linalg.slogdet(information)[1] - np.log(precision).sum(axis=-1)
        return np.asarray(-(precision * off**2).sum(axis=-1) / 2 - volume / 2)


@dataclass(frozen=True)
class Linearization:
    """Computed ln I of J fits, linear in the parameters about a point.

    Attributes:
        parameters: (J, Q) the point.
        residual: (J, N) measured less computed ln I there.
        design: (J, N, Q) derivatives of the computed ln I.
        intensity: (J, N) computed intensities there, relative to the strongest reflection without a tilt.
        used: (J, N) spots that are fitted.
        saturation_variance: (N,) what saturation adds to the variance of ln I.
    """

    parameters: FloatArray
    residual: FloatArray
    design: FloatArray
    intensity: FloatArray
    used: BoolArray
    saturation_variance: FloatArray

    def take(self, rows: Sequence[int]) -> Self:
        """Return these fits; a fit may be repeated."""
        kept = list(rows)
        return type(self)(
            self.parameters[kept],
            self.residual[kept],
            self.design[kept],
            self.intensity[kept],
            self.used[kept],
            self.saturation_variance,
        )

    def compute_variance(self, noise: IntensityNoise) -> FloatArray:
        """Return the expected variance (J, N) of the residuals."""
        return noise.compute_variance(self.intensity) + self.saturation_variance


def linearize(model: "IntensityModel", parameters: FloatArray) -> Linearization:
    """Compute ln I and its derivatives at parameters (J, Q).

    ln I = level + ln(|A(tilt) + displacements|^2 + diffuse share * diffuse scattering) - B q^2 / 2, with the amplitudes
    A of the multislice as polynomials of the tilt.
    """
    displacements = parameters[:, DISPLACEMENTS].astype(np.complex64)
    diffuse = np.exp(parameters[:, [LOG_DIFFUSE]]) * model.diffuse
    terms = _compute_tilt_terms(parameters[:, TILT], model.coefficients.shape[1]).astype(np.complex64)
    amplitude, along_x, along_y = (terms @ model.coefficients).transpose(1, 0, 2)
    amplitude = amplitude + (model.responses @ displacements[..., None])[..., 0]
    intensity = np.abs(amplitude).astype(np.float64) ** 2 + diffuse
    by_tilt = compute_log_slopes(amplitude, np.stack([along_x, along_y], axis=2), intensity)
    by_displacements = compute_log_slopes(amplitude, model.responses, intensity)
    by_diffuse = (diffuse / (intensity + INTENSITY_FLOOR))[..., None]
    slopes = np.concatenate([by_tilt, by_diffuse, by_displacements], axis=2).astype(np.float64)
    level, b, damping = parameters[:, [LEVEL]], parameters[:, [B_FACTOR]], model.damping
    return Linearization(
        parameters=parameters,
        residual=model.measured - np.log(intensity + INTENSITY_FLOOR) - level - b * damping,
        design=np.concatenate([np.ones_like(damping)[..., None], damping[..., None], slopes], axis=2),
        intensity=intensity,
        used=model.used,
        saturation_variance=model.saturation_variance,
    )


def _compute_tilt_terms(tilt: FloatArray, count: int) -> FloatArray:
    """Return the first monomials of tilts (J, 2) and their derivatives by both tangents, (J, 3, P)."""
    exponents = list_exponents(count)
    of_x, of_y = exponents.of_x, exponents.of_y
    x = (tilt[:, 0, None] / MAX_TILT_TANGENT) ** exponents.degrees
    y = (tilt[:, 1, None] / MAX_TILT_TANGENT) ** exponents.degrees
    along_x = of_x * x[:, np.maximum(of_x - 1, 0)] * y[:, of_y]
    along_y = of_y * x[:, of_x] * y[:, np.maximum(of_y - 1, 0)]
    gradients = np.stack([along_x, along_y], axis=1) / MAX_TILT_TANGENT
    return np.concatenate([(x[:, of_x] * y[:, of_y])[:, None], gradients], axis=1)


@dataclass(frozen=True)
class Solution:
    """The optimum of J linear problems.

    Attributes:
        parameters: (J, Q) at the optimum.
        residual: (J, N) residuals of the linear model there.
    """

    parameters: FloatArray
    residual: FloatArray


@dataclass(frozen=True)
class LinearFit:
    """J linearized fits with a noise model and a prior.

    Attributes:
        model: the linearization.
        noise: of ln I; where the fits have different ones, only its degrees of freedom count.
        prior: of the parameters.
        variance: (J, N) of the residuals.
    """

    model: Linearization
    noise: IntensityNoise
    prior: NormalPrior
    variance: FloatArray

    @classmethod
    def pose(cls, noise: IntensityNoise, prior: NormalPrior, model: Linearization) -> Self:
        """Set up the linear fits for one noise model."""
        return cls(model, noise, prior, model.compute_variance(noise))

    def compute_log_posterior(self) -> FloatArray:
        """Return the log posterior (J,) at the point of linearization, up to a constant."""
        density = self.noise.compute_log_density(self.model.residual, self.variance)
        off = self.prior.precision * (self.model.parameters - self.prior.mean) ** 2
        return np.asarray((self.model.used * density).sum(axis=1) - off.sum(axis=1) / 2)

    def solve(self, steps: int) -> Solution:
        """Find the optimum with this number of reweighted least-squares steps."""
        model, prior = self.model, self.prior
        information = prior.information
        parameters, residual = model.parameters, model.residual
        for _ in range(steps):
            weighted, normal = self._weigh(self.noise.compute_robust_weight(residual, self.variance))
            gradient = np.einsum("jpn,jn->jp", weighted, residual)
            gradient -= prior.precision * (parameters - prior.mean)
            parameters = parameters + np.linalg.solve(normal + information, gradient[..., None])[..., 0]
            residual = model.residual - np.einsum("jnp,jp->jn", model.design, parameters - model.parameters)
        return Solution(parameters, residual)

    def compute_information(self) -> FloatArray:
        """Return the expected information (J, Q, Q) of the data alone."""
        return self._weigh(self.noise.compute_curvature(self.variance))[1]

    def compute_log_evidence(self, steps: int, priors: NormalPrior) -> FloatArray:
        """Return the log of the likelihood with all parameters integrated out, for each of several priors.

        The weights are those of the optimum under the fit's own prior.

        Args:
            steps: number of reweighted least-squares steps to that optimum.
            priors: of shape (..., J, Q).

        Returns:
            (..., J) ln evidence, up to a constant.
        """
        model = self.model
        weight = self.noise.compute_robust_weight(self.solve(steps).residual, self.variance)
        weighted, normal = self._weigh(weight)
        gradient = np.einsum("jpn,jn->jp", weighted, model.residual)
        gradient = gradient - priors.precision * (model.parameters - priors.mean)
        step = np.linalg.solve(normal + priors.information, gradient[..., None])
        residual = model.residual - (model.design @ step)[..., 0]
        density = (model.used * self.noise.compute_log_density(residual, self.variance)).sum(axis=-1)
        information = self.compute_information() + priors.information
        return np.asarray(density + priors.compute_log_density(model.parameters + step[..., 0], information))

    def _weigh(self, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the design times weights (J, N), as (J, Q, N), and that times the design, (J, Q, Q)."""
        weighted = (self.model.design * (self.model.used * weight)[..., None]).transpose(0, 2, 1)
        return weighted, np.asarray(weighted @ self.model.design)


def limit_step(parameters: FloatArray, proposed: FloatArray) -> FloatArray:
    """Return the proposed parameters (J, Q), with the step from the current ones and their range limited."""
    reached = proposed.copy()
    reached[:, B_FACTOR] = np.clip(proposed[:, B_FACTOR], *B_RANGE)
    turn = _shorten(proposed[:, TILT] - parameters[:, TILT], MAX_TILT_STEP)
    reached[:, TILT] = _shorten(parameters[:, TILT] + turn, MAX_TILT_TANGENT)
    # The slope by ln of the diffuse share holds for small steps only.
    step = np.clip(
        proposed[:, LOG_DIFFUSE] - parameters[:, LOG_DIFFUSE], -_MAX_LOG_DIFFUSE_STEP, _MAX_LOG_DIFFUSE_STEP
    )
    reached[:, LOG_DIFFUSE] = parameters[:, LOG_DIFFUSE] + step
    return reached


def _shorten(vectors: FloatArray, max_length: float) -> FloatArray:
    """Return vectors (J, 2) that are at most so long."""
    length = np.hypot(vectors[:, :1], vectors[:, 1:])
    return np.asarray(vectors * np.minimum(1.0, max_length / np.maximum(length, 1e-12)))
