"""The intensities of crystals fitted to those of a pattern: tilt, thermal motion, and how the atoms lie.

What cannot be known is taken account of as in any likelihood: the further a fit has to move atoms the less likely it is
(`displacements.py`), and of two fits alike the one wins that fits with less fine a choice of tilt, B and
shifts (Laplace's approximation of the integral over them). Shifts that keep the symmetry of a layer may be as large as
computed structures differ; how large the others are is each fit's own to say, and in a perfect crystal they are none.
Every crystal is fitted as two kinds of pattern side by side (`AT_REST`, `SNAPSHOTS`) and is as likely as both together.
How noisy the pattern's intensities are is fitted too, to its best explanation: what that leaves, no other can be
blamed for.
Axes: J fits, N spots, M beams, K directions in which atoms may be shifted, Q of what is known (`Trials`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.displacements import Unrest
from model.matching.fitting.intensity_noise import ROUGH_NOISE, IntensityNoise, compute_log_slopes
from model.matching.fitting.least_squares import Linear, Prior
from model.matching.fitting.missing_reflections import Absent
from model.matching.fitting.priors import AT_REST, SNAPSHOTS, Disorder
from model.matching.fitting.rough_fit import (
    DIFFUSE,
    EXPECTED,
    PRECISION,
    SHIFTS,
    TILT,
    Shape,
    Start,
    Trials,
    moved,
)
from model.physics.tilt_series import monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

MODEL_SIGMA = 0.04
FREEDOM = 12.0
SPOT_SIGMAS = np.array([0.1, 0.14, 0.2, 0.28, 0.38, 0.5, 0.65, 0.85])
# Of the noise's logarithm, about SPOT_SIGMAS[2].
_SPOT_SIGMA_SPREAD = 0.8
# How far atoms lie aside of their symmetric places, over `DISPLACEMENT_SIGMA_ANGSTROM`.
BREAKING = np.array([0.05, 0.25, 0.5, 1.0, 1.5, 2.5])
INNER_MARGIN_INV_ANGSTROM = 0.02
ROUNDS, STEPS = 2, 2
# Beams that are fainter than the faintest spot by this, as ln I, are surely not seen.
_HIDDEN = 3.0


@dataclass(frozen=True)
class Fit:
    """The best explanation of a pattern's intensities by one crystal in one setting.

    Attributes:
        tilt: (2,) tangents of the tilt in the crystal's frame.
        tilt_sigma: their standard error, the larger of the two; None where the tilt was not fitted.
        b: Debye-Waller B with the camera's response in it, angstrom^2; None where it was not fitted.
        b_sigma: its standard error.
        computed: (N,) ln intensity of each spot on the measured scale, of the atoms where the library has them; NaN
            where no beam belongs to it.
        sigma: (K,) expected rms of its difference from the measured one, of the K spots that have a beam.
        log_densities: (K,) ln likelihood of each of them, the atoms shifted as fits best.
        absent: the beams within the pattern's range that were not measured.
        log_prior: ln prior of tilt, B, the atoms' shifts and the kind of pattern, and how well they are known, by which
            many fits may be as good, those under the other kind among them.
    """

    tilt: FloatArray
    tilt_sigma: float | None
    b: float | None
    b_sigma: float | None
    computed: FloatArray
    sigma: FloatArray
    log_densities: FloatArray
    absent: Absent
    log_prior: float

    @property
    def score(self) -> float:
        """ln of likelihood and prior."""
        return float(self.log_densities.sum()) + self.absent.log_likelihood + self.log_prior


def fitted(trials: Trials, known: FloatArray, favour: FloatArray) -> list[Fit]:
    """Fit with atoms that do not lie still, beginning at rough fits.

    Args:
        trials: J fits that are to be made.
        known: (J, 5) of the rough fits.
        favour: (J,) what else speaks for each, as ln likelihood; noise is judged by the likeliest.
    """
    both = _Relaxed.of(trials, known).also_under(SNAPSHOTS)
    fits = _Explained.of(both, np.tile(favour, 2)).fits()
    return [_either(*pair) for pair in zip(fits[: len(trials)], fits[len(trials) :], strict=True)]


def fitted_still(trials: Trials, known: FloatArray) -> list[Fit]:
    """Fits of atoms that lie still where the library has them, which tell how a candidate lies and no more.

    Args:
        trials: J fits that are to be made.
        known: (J, 5) of the rough fits.
    """
    relaxed = _Relaxed.still(trials, known)
    of_each = np.zeros(len(known))
    return _Explained(relaxed, ROUGH_NOISE, of_each.astype(np.int64), of_each).fits()


def _either(first: Fit, second: Fit) -> Fit:
    """The likelier of two explanations by the same crystal, as likely as both together."""
    better = max(first, second, key=lambda fit: fit.score)
    both = np.logaddexp(first.score, second.score)
    return replace(better, log_prior=better.log_prior + float(both) - better.score)


@dataclass(frozen=True)
class _Relaxed:
    """J fits near their optima with atoms that do not lie still.

    Attributes:
        trials: what is fitted.
        unrest: (J,) what it does to all beams of each layer; K' <= K directions.
        free: (J, K) directions that keep the layer's symmetry.
        disorder: (J,) the kind of pattern that each supposes.
        known: (J, Q) where the fits are made linear.
        shape: computed there.
    """

    trials: Trials
    unrest: tuple[Unrest, ...]
    free: BoolArray
    disorder: tuple[Disorder, ...]
    known: FloatArray
    shape: Shape

    @classmethod
    def of(cls, trials: Trials, rough: FloatArray) -> Self:
        """Move to the optima with shifted atoms, beginning at rough fits (J, 5)."""
        unrest = tuple(
            _unrest(start, tilt, rows[used])
            for start, tilt, rows, used in zip(
                trials.starts, rough[:, TILT], trials.rows, trials.used, strict=True
            )
        )
        trials = trials.loosened(unrest)
        count = trials.shifts.shape[2]
        free = np.stack([np.pad(each.free, (0, count - len(each.free))) for each in unrest])
        known = np.concatenate([rough, np.zeros((len(rough), count))], axis=1)
        relaxed = cls(trials, unrest, free, (AT_REST,) * len(rough), known, trials.shape(known))
        for _ in range(ROUNDS):
            relaxed = relaxed.nearer(ROUGH_NOISE, relaxed.expected_breaking)
        return relaxed

    @classmethod
    def still(cls, trials: Trials, rough: FloatArray) -> Self:
        """Rough fits (J, 5) as they are: no atom is shifted, and none moves."""
        unrest = tuple(Unrest.none(len(start.layer.hk)) for start in trials.starts)
        free = np.zeros((len(rough), 0), dtype=bool)
        return cls(trials, unrest, free, (AT_REST,) * len(rough), rough, trials.shape(rough))

    def take(self, kept: Sequence[int]) -> Self:
        """Some of them."""
        rows = list(kept)
        return type(self)(
            self.trials.take(rows),
            tuple(self.unrest[row] for row in rows),
            self.free[rows],
            tuple(self.disorder[row] for row in rows),
            self.known[rows],
            self.shape.take(rows),
        )

    def also_under(self, disorder: Disorder) -> Self:
        """(2 J) these, and each again as a pattern of another kind."""
        count = len(self.known)
        twice = self.take([*range(count)] * 2)
        known = twice.known.copy()
        known[count:, DIFFUSE] = disorder.log_share
        begun = replace(
            twice,
            disorder=(*self.disorder, *[disorder] * count),
            known=known,
            shape=twice.trials.shape(known),
        )
        return begun.nearer(ROUGH_NOISE, begun.expected_breaking)

    @property
    def expected_breaking(self) -> FloatArray:
        """(J,) likeliest rms of the shifts that break the symmetry."""
        return np.array([each.breaking for each in self.disorder])

    def log_prior_breaking(self, breaking: FloatArray) -> FloatArray:
        """(..., J) of rms (..., J) of the shifts that break the symmetry."""
        spread = np.array([each.log_breaking_sigma for each in self.disorder])
        return np.asarray(-((np.log(breaking / self.expected_breaking) / spread) ** 2) / 2)

    def nearer(self, noise: IntensityNoise, breaking: FloatArray) -> Self:
        """One Gauss-Newton step on, given the rms (J,) of the shifts that break the symmetry."""
        known = moved(self.known, self.linear(noise, breaking).solved(noise, STEPS).parameters)
        return replace(self, known=known, shape=self.trials.shape(known))

    def linear(self, noise: IntensityNoise, breaking: FloatArray) -> Linear:
        """Made linear, given the rms (J,) of the shifts that break the symmetry."""
        return self.trials.linear(self.known, self.shape, noise, self._prior(breaking))

    def by_breaking(self, noise: IntensityNoise) -> FloatArray:
        """(B, J) ln evidence of each fit under each of BREAKING, and how likely such shifts are."""
        return self._by_breaking(self.linear(noise, self.expected_breaking), noise)

    def by_noise(self, row: int, noises: Sequence[IntensityNoise]) -> FloatArray:
        """(B, S) the same of one of the fits under S noises of the same freedom."""
        own = self.take([row])
        variance = np.concatenate([own.trials.variance(own.shape.intensity, each) for each in noises])
        same = own.linear(noises[0], own.expected_breaking).take([0] * len(noises))
        return own._by_breaking(replace(same, variance=variance), noises[0])

    def _by_breaking(self, linear: Linear, noise: IntensityNoise) -> FloatArray:
        priors = self._prior(BREAKING[:, None])
        log_prior = self.log_prior_breaking(BREAKING[:, None])
        return np.asarray(linear.log_evidence(noise, STEPS, priors) + log_prior)

    def _prior(self, breaking: FloatArray) -> Prior:
        """(..., J, Q) with these rms (..., J) of the shifts that break the symmetry."""
        shape = (*breaking.shape[:-1], *self.known.shape)
        expected, precision = np.zeros(shape), np.zeros(shape)
        expected[..., : len(EXPECTED)], precision[..., : len(PRECISION)] = EXPECTED, PRECISION
        expected[..., DIFFUSE] = [each.log_share for each in self.disorder]
        precision[..., DIFFUSE] = [each.log_share_sigma**-2 for each in self.disorder]
        symmetric = np.array([each.symmetric for each in self.disorder])
        precision[..., SHIFTS] = np.where(self.free, symmetric[:, None], breaking[..., None]) ** -2
        return Prior(expected, precision)


@dataclass(frozen=True)
class _Explained:
    """J fits, and what their best explanation of the pattern leaves.

    Attributes:
        relaxed: the fits.
        noise: of ln I.
        breaking: (J,) which of BREAKING is the rms of each fit's shifts that break the symmetry.
        log_evidence: (J,) ln of likelihood and prior, all that was fitted integrated out, and of what else speaks for
            each; but for the beams that were not seen.
    """

    relaxed: _Relaxed
    noise: IntensityNoise
    breaking: IntArray
    log_evidence: FloatArray

    @classmethod
    def of(cls, relaxed: _Relaxed, favour: FloatArray) -> Self:
        """The likeliest noise, one of the fits being right, which is the likeliest with it."""
        leader = int(np.argmax(relaxed.by_breaking(ROUGH_NOISE).max(axis=0) + favour))
        best = cls._with(relaxed, _noise_by(relaxed, leader), favour)
        likeliest = int(np.argmax(best.log_evidence))
        return best if likeliest == leader else cls._with(relaxed, _noise_by(relaxed, likeliest), favour)

    @classmethod
    def _with(cls, relaxed: _Relaxed, noise: IntensityNoise, favour: FloatArray) -> Self:
        evidence = relaxed.by_breaking(noise)
        log_evidence = evidence.max(axis=0) + favour
        return cls(relaxed, noise, evidence.argmax(axis=0), log_evidence)

    def fits(self) -> list[Fit]:
        """All of it at the optima, one step nearer to them."""
        noise, breaking = self.noise, BREAKING[self.breaking]
        relaxed = self.relaxed.nearer(noise, breaking)
        linear, trials = relaxed.linear(noise, breaking), relaxed.trials
        solution = linear.solved(noise, STEPS)
        information = linear.information(noise) + linear.prior.information
        covariance = np.linalg.inv(information)
        prior = linear.prior.log_density(solution.parameters, information)
        prior = prior + relaxed.log_prior_breaking(breaking)
        densities = noise.log_density(solution.left, linear.variance)
        known = moved(relaxed.known, solution.parameters)
        unshifted = known.copy()
        unshifted[:, SHIFTS] = 0.0
        computed = trials.measured - trials.residual(unshifted, trials.shape(unshifted))
        by_shifts = linear.design[:, :, SHIFTS] ** 2 / linear.prior.precision[:, None, SHIFTS]
        spread = np.sqrt(linear.variance + by_shifts.sum(axis=2))
        return [
            Fit(
                tilt=known[row, TILT],
                tilt_sigma=float(np.sqrt(np.linalg.eigvalsh(covariance[row, TILT, TILT])[-1])),
                b=float(known[row, 1]),
                b_sigma=float(np.sqrt(covariance[row, 1, 1])),
                computed=np.where(used, computed[row], np.nan),
                sigma=spread[row, used],
                log_densities=densities[row, used],
                absent=self._absent(row, known[row], covariance[row]),
                log_prior=float(prior[row]),
            )
            for row, used in enumerate(trials.used)
        ]

    def _absent(self, row: int, known: FloatArray, covariance: FloatArray) -> Absent:
        """The beams that one of the fits expects and the pattern does not show."""
        trials, unrest = self.relaxed.trials, self.relaxed.unrest[row]
        start, rows = trials.starts[row], trials.rows[row, trials.used[row]]
        layer, observed = start.layer, start.observed
        q = layer.hk @ start.basis
        q2 = np.einsum("md,md->m", q, q)
        of_shifts = slice(SHIFTS.start, SHIFTS.start + unrest.shifts.shape[1])
        amplitude = _amplitude(start, known[TILT]) + unrest.shifts @ known[of_shifts].astype(np.complex64)
        intensity = np.abs(amplitude).astype(np.float64) ** 2 + np.exp(known[DIFFUSE]) * unrest.diffuse
        level, b = known[:2].tolist()
        above = np.log(intensity + 1e-6) + level - b * q2 / 2 - observed.log_detection_limit
        within = _within(q2, observed.squared[trials.used[row]]) & observed.is_visible(q)
        variance = self.noise.variance(intensity)
        # Beams that are hidden anyway need not be known better.
        near = within & (above > -_HIDDEN)
        slopes = compute_log_slopes(amplitude[near], unrest.shifts[near], intensity[near])
        variance[near] += np.einsum("mk,mk->m", slopes @ covariance[of_shifts, of_shifts], slopes)
        return Absent.of(layer.hk, above, within, rows, observed.log_detection_limit, np.sqrt(variance))


def _noise_by(relaxed: _Relaxed, leader: int) -> IntensityNoise:
    """The likeliest noise, one of the fits being right."""
    noises = [IntensityNoise(MODEL_SIGMA, sigma, FREEDOM) for sigma in SPOT_SIGMAS.tolist()]
    off = np.log(SPOT_SIGMAS / SPOT_SIGMAS[2]) / _SPOT_SIGMA_SPREAD
    return noises[int(np.argmax(relaxed.by_noise(leader, noises).max(axis=0) - off**2 / 2))]


def _amplitude(start: Start, tilt: FloatArray) -> ComplexArray:
    """(M,) of all beams of a layer, no atom shifted."""
    series = start.layer.faces[start.seed.face].coefficients
    return np.asarray(monomials(tilt, len(series)).astype(np.complex64) @ series)


def _unrest(start: Start, tilt: FloatArray, seen: IntArray) -> Unrest:
    """Of all beams of a layer, by the shifts that matter to those at the rows that were seen."""
    return start.layer.scatterers.unrest(tilt, start.seed.face, _amplitude(start, tilt), seen)


def _within(q2: FloatArray, measured: FloatArray) -> BoolArray:
    """(M,) beams no nearer and no further than the spots that have a beam: others the camera may not have seen."""
    if not len(measured):
        return np.zeros(len(q2), dtype=bool)
    nearest = max(float(np.sqrt(measured.min())) - INNER_MARGIN_INV_ANGSTROM, 0.0)
    # Rounding must not tell whether the beams of the farthest spot's own ring are within: they are.
    return np.asarray((q2 < measured.max() * (1 + 1e-6)) & (q2 > nearest**2))
