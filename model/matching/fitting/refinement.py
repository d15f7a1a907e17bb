"""Refinement: tilt, thermal motion and the displacements of the atoms, fitted to a pattern's intensities.

The score of a fit is a marginal likelihood: of two fits that explain the pattern equally well, the one wins that needs
smaller displacements and a less fine choice of its parameters (Laplace's approximation of the integral over them).
Displacements that keep the layer's symmetry may be as large as computed structures differ. The rms of those that break
it is chosen by each fit; in a perfect crystal they are zero. Every candidate is fitted as two kinds of pattern
(`AT_REST`, `SNAPSHOTS`), and its likelihood is the sum of both. The noise of the intensities is fitted to the best
explanation and holds for all candidates.
Axes: J fits, N spots, M reflections, K directions of displacements, Q parameters, B rms of the displacements that
break the symmetry (`SYMMETRY_BREAKING_SIGMAS`), S noises.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.candidate_diffraction import IntensityModel
from model.matching.fitting.displacements import DisplacementResponse, find_responses
from model.matching.fitting.fit import Fit, find_missing_reflections
from model.matching.fitting.likelihood import (
    ROUGH_NOISE,
    IntensityNoise,
    LinearFit,
    Linearization,
    NormalPrior,
    limit_step,
    linearize,
)
from model.matching.fitting.rough_fit import RoughFits
from model.matching.priors import (
    AT_REST,
    B_FACTOR,
    DISPLACEMENTS,
    LOG_DIFFUSE,
    MODEL_SIGMA,
    NOISE_FREEDOM,
    PARAMETER_MEAN,
    PARAMETER_PRECISION,
    SNAPSHOTS,
    SPOT_SIGMA_LOG_SPREAD,
    SPOT_SIGMA_MEDIAN,
    SPOT_SIGMAS,
    SYMMETRY_BREAKING_SIGMAS,
    TILT,
    DisorderPrior,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

GAUSS_NEWTON_STEPS, REWEIGHTINGS = 2, 2


def refine(rough: RoughFits, bonus: FloatArray) -> list[Fit]:
    """Refine rough fits with displaced atoms.

    Args:
        rough: J rough fits, at least one.
        bonus: (J,) what else speaks for each, as ln likelihood; the noise is that of the likeliest fit.
    """
    count = len(bonus)
    refined = _Refinement.from_rough_fits(rough).add_kind(SNAPSHOTS)
    noise, breaking = _estimate_noise(refined, np.tile(bonus, 2))
    fits = _finish(refined, noise, breaking)
    scores = [fit.score for fit in fits]
    return [
        _combine_kinds(fits[row], fits[count + row], scores[row], scores[count + row]) for row in range(count)
    ]


def evaluate_rough_fits(rough: RoughFits) -> list[Fit]:
    """Return rough fits, one step closer to their optima, with the atoms at their library positions."""
    breaking = np.full(len(rough.parameters), SYMMETRY_BREAKING_SIGMAS[0])
    return _finish(_Refinement.without_displacements(rough), ROUGH_NOISE, breaking)


@dataclass(frozen=True)
class _Refinement:
    """J fits near their optima.

    Attributes:
        model: what is fitted.
        responses: (J,) of all reflections of each candidate, along K' <= K directions.
        keeps_symmetry: (J, K) directions that keep the layer's symmetry.
        disorder: (J,) the kind of pattern that each fit assumes.
        linearization: the model at the current parameters.
    """

    model: IntensityModel
    responses: Sequence[DisplacementResponse]
    keeps_symmetry: BoolArray
    disorder: tuple[DisorderPrior, ...]
    linearization: Linearization

    @classmethod
    def from_rough_fits(cls, rough: RoughFits) -> Self:
        """Move to the optima with displaced atoms."""
        starts = rough.model.starts
        amplitudes = rough.model.compute_amplitudes(rough.parameters[:, TILT])
        responses = find_responses(
            [start.candidate.diffraction.scatterers for start in starts],
            [start.face for start in starts],
            rough.parameters[:, TILT],
            amplitudes,
            [rows[used] for rows, used in zip(rough.model.rows, rough.model.used, strict=True)],
        )
        model = rough.model.add_displacements(responses)
        count = model.responses.shape[2]
        keeps = np.stack(
            [np.pad(each.keeps_symmetry, (0, count - len(each.keeps_symmetry))) for each in responses]
        )
        parameters = np.concatenate([rough.parameters, np.zeros((len(starts), count))], axis=1)
        refined = cls(model, responses, keeps, (AT_REST,) * len(starts), linearize(model, parameters))
        return refined.step(ROUGH_NOISE, refined.make_prior(refined.likeliest_breaking), GAUSS_NEWTON_STEPS)

    @classmethod
    def without_displacements(cls, rough: RoughFits) -> Self:
        """Return rough fits without refinement."""
        starts = rough.model.starts
        responses = [DisplacementResponse.zero(len(start.candidate.diffraction.hk)) for start in starts]
        keeps = np.zeros((len(starts), 0), dtype=bool)
        linearization = linearize(rough.model, rough.parameters)
        return cls(rough.model, responses, keeps, (AT_REST,) * len(starts), linearization)

    def take(self, rows: Sequence[int]) -> Self:
        """Return these fits; a fit may be repeated."""
        kept = list(rows)
        return type(self)(
            self.model.take(kept),
            [self.responses[row] for row in kept],
            self.keeps_symmetry[kept],
            tuple(self.disorder[row] for row in kept),
            self.linearization.take(kept),
        )

    def add_kind(self, disorder: DisorderPrior) -> Self:
        """Return 2 J fits: these, and each of them refitted as another kind of pattern."""
        count = len(self.disorder)
        twice = self.take([*range(count)] * 2)
        parameters = twice.linearization.parameters.copy()
        parameters[count:, LOG_DIFFUSE] = disorder.log_diffuse
        both = replace(
            twice,
            disorder=(*self.disorder, *[disorder] * count),
            linearization=linearize(twice.model, parameters),
        )
        return both.step(ROUGH_NOISE, both.make_prior(both.likeliest_breaking))

    @property
    def likeliest_breaking(self) -> FloatArray:
        """(J,) most probable rms of the displacements that break the symmetry."""
        return np.array([kind.breaking_sigma for kind in self.disorder])

    def compute_log_prior_of_breaking(self, breaking: FloatArray) -> FloatArray:
        """Return the ln prior (..., J) of the rms (..., J) of the displacements that break the symmetry."""
        spread = np.array([kind.breaking_log_spread for kind in self.disorder])
        return np.asarray(-((np.log(breaking / self.likeliest_breaking) / spread) ** 2) / 2)

    def step(self, noise: IntensityNoise, prior: NormalPrior, count: int = 1) -> Self:
        """Make Gauss-Newton steps."""
        linearization = self.linearization
        for _ in range(count):
            proposed = LinearFit.pose(noise, prior, linearization).solve(REWEIGHTINGS).parameters
            parameters = limit_step(linearization.parameters, proposed)
            linearization = linearize(self.model, parameters)
        return replace(self, linearization=linearization)

    def make_prior(self, breaking: FloatArray) -> NormalPrior:
        """Return the prior (..., J, Q), given the rms (..., J) of the displacements that break the symmetry."""
        shape = (*breaking.shape[:-1], *self.linearization.parameters.shape)
        mean, precision = np.zeros(shape), np.zeros(shape)
        mean[..., : len(PARAMETER_MEAN)] = PARAMETER_MEAN
        precision[..., : len(PARAMETER_PRECISION)] = PARAMETER_PRECISION
        mean[..., LOG_DIFFUSE] = [kind.log_diffuse for kind in self.disorder]
        precision[..., LOG_DIFFUSE] = [kind.log_diffuse_sigma**-2 for kind in self.disorder]
        symmetric = np.array([kind.symmetric_sigma for kind in self.disorder])
        sigma = np.where(self.keeps_symmetry, symmetric[:, None], breaking[..., None])
        precision[..., DISPLACEMENTS] = sigma**-2
        return NormalPrior(mean, precision)


def _estimate_noise(refined: _Refinement, bonus: FloatArray) -> tuple[IntensityNoise, FloatArray]:
    """Find the noise of the likeliest fit, and the rms (J,) of each fit's displacements that break the symmetry."""
    model, breaking = refined.linearization, SYMMETRY_BREAKING_SIGMAS[:, None]
    prior, priors = refined.make_prior(refined.likeliest_breaking), refined.make_prior(breaking)
    log_prior = refined.compute_log_prior_of_breaking(breaking)
    rough = LinearFit.pose(ROUGH_NOISE, prior, model).compute_log_evidence(REWEIGHTINGS, priors) + log_prior
    leader = int(np.argmax(rough.max(axis=0) + bonus))
    for _ in range(2):
        row = [leader]
        row_priors = NormalPrior(priors.mean[:, row], priors.precision[:, row])
        noise = _find_likeliest_noise(model.take(row), prior.take(row), row_priors, log_prior[:, row])
        fit = LinearFit.pose(noise, prior, model)
        evidence = fit.compute_log_evidence(REWEIGHTINGS, priors) + log_prior
        likeliest = int(np.argmax(evidence.max(axis=0) + bonus))
        if likeliest == leader:
            break
        leader = likeliest
    return noise, SYMMETRY_BREAKING_SIGMAS[evidence.argmax(axis=0)]


def _find_likeliest_noise(
    model: Linearization, prior: NormalPrior, priors: NormalPrior, log_prior: FloatArray
) -> IntensityNoise:
    """Find the noise under which a fit has the largest evidence.

    Args:
        model: of the fit alone.
        prior: under which its optimum is found.
        priors: (B, 1, Q) priors under which the evidence is computed.
        log_prior: (B, 1) ln of their own prior.
    """
    noises = [IntensityNoise(MODEL_SIGMA, sigma, NOISE_FREEDOM) for sigma in SPOT_SIGMAS.tolist()]
    same = [0] * len(noises)
    variance = np.concatenate([model.compute_variance(noise) for noise in noises])
    fit = LinearFit(model.take(same), noises[0], prior.take(same), variance)
    evidence = (fit.compute_log_evidence(REWEIGHTINGS, priors) + log_prior).max(axis=0)
    off = np.log(SPOT_SIGMAS / SPOT_SIGMA_MEDIAN) / SPOT_SIGMA_LOG_SPREAD
    return noises[int(np.argmax(evidence - off**2 / 2))]


def _finish(refined: _Refinement, noise: IntensityNoise, breaking: FloatArray) -> list[Fit]:
    """Make one more step, and evaluate the fits at their optima."""
    prior, log_prior_of_breaking = (
        refined.make_prior(breaking),
        refined.compute_log_prior_of_breaking(breaking),
    )
    model, refined = refined.model, refined.step(noise, prior)
    linear = LinearFit.pose(noise, prior, refined.linearization)
    solution = linear.solve(REWEIGHTINGS)
    information = linear.compute_information() + linear.prior.information
    covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
    log_prior = linear.prior.compute_log_density(solution.parameters, information) + log_prior_of_breaking
    densities = noise.compute_log_density(solution.residual, linear.variance)
    parameters = limit_step(refined.linearization.parameters, solution.parameters)
    at_rest = parameters.copy()
    at_rest[:, DISPLACEMENTS] = 0.0
    computed = model.measured - linearize(model, at_rest).residual
    design, precision = linear.model.design, linear.prior.precision
    by_displacements = design[:, :, DISPLACEMENTS] ** 2 / precision[:, None, DISPLACEMENTS]
    sigma = np.sqrt(linear.variance + by_displacements.sum(axis=2))
    missing = find_missing_reflections(model, refined.responses, parameters, covariance, noise)
    return [
        Fit(
            tilt=parameters[row, TILT],
            tilt_sigma=float(np.sqrt(np.linalg.eigvalsh(covariance[row, TILT, TILT])[-1])),
            b_factor=float(parameters[row, B_FACTOR]),
            b_factor_sigma=float(np.sqrt(covariance[row, B_FACTOR, B_FACTOR])),
            computed=np.where(used, computed[row], np.nan),
            sigma=sigma[row, used],
            log_densities=densities[row, used],
            missing=missing[row],
            log_prior=float(log_prior[row]),
        )
        for row, used in enumerate(model.used)
    ]


def _combine_kinds(first: Fit, second: Fit, first_score: float, second_score: float) -> Fit:
    """Return the likelier of two fits of a candidate, with the likelihood of both together."""
    better, score = (second, second_score) if second_score > first_score else (first, first_score)
    both = np.logaddexp(first_score, second_score)
    return replace(better, log_prior=better.log_prior + float(both) - score)
