"""The intensities of crystals fitted to those of a pattern: tilt, thermal motion, and how the atoms lie.

What cannot be known is taken account of as in any likelihood: the further a fit has to move atoms the less likely it is
(`model/matching/displacements.py`), and of two fits alike the one wins that fits with less fine a choice of tilt, B and
shifts (Laplace's approximation of the integral over them). How noisy the pattern's intensities are is fitted too, to
its best explanation: what that leaves, no other can be blamed for.
Axes: J fits, N spots, M beams, K directions in which atoms may be shifted.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.absent import Absent
from model.matching.displacements import main_directions
from model.matching.noise import ROUGH, Noise, log_slopes
from model.matching.trials import Linear, Shape, Start, Trials, moved, prior_precision
from model.physics.tilt_series import monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

MODEL_SIGMA = 0.1
FREEDOM = 12.0
SPOT_SIGMAS = np.array([0.1, 0.14, 0.2, 0.28, 0.38, 0.5, 0.65, 0.85])
# Of the noise's logarithm, about SPOT_SIGMAS[2].
_SPOT_SIGMA_SPREAD = 0.8
# How far atoms lie aside in this flake, over what is usual.
UNREST = np.array([0.25, 0.5, 1.0, 1.5])
_UNREST_SPREAD = 0.7
INNER_MARGIN_INV_ANGSTROM = 0.02
ROUNDS, STEPS = 2, 3
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
        log_prior: ln prior of tilt, B and the atoms' shifts, and how well they are known, by which many fits may be
            as good.
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
    """Fit with shifted atoms, beginning at rough fits.

    Args:
        trials: J fits that are to be made.
        known: (J, 4) level, B and the tangents of the tilt to begin with.
        favour: (J,) what else speaks for each, as ln likelihood; noise is judged by the likeliest.
    """
    relaxed = _Relaxed.of(trials, known)
    leader = int(np.argmax(relaxed.evidence(ROUGH) + favour))
    for _ in range(2):
        noise = relaxed.noise_by(leader)
        best = int(np.argmax(relaxed.evidence(noise) + favour))
        if best == leader:
            break
        leader = best
    return relaxed.nearer(noise).fits(noise)


@dataclass(frozen=True)
class _Relaxed:
    """J fits near their optima with shifted atoms.

    Attributes:
        trials: what is fitted.
        responses: (J,) of (M, K') derivatives of the amplitudes by the shifts, of all beams of each layer, K' <= K.
        known: (J, Q) where the fits are made linear.
        shape: computed there.
    """

    trials: Trials
    responses: tuple[ComplexArray, ...]
    known: FloatArray
    shape: Shape

    @classmethod
    def of(cls, trials: Trials, rough: FloatArray) -> Self:
        """Move to the optima with shifted atoms, beginning at rough fits (J, 4)."""
        responses = tuple(
            _responses(start, tilt, rows[used])
            for start, tilt, rows, used in zip(
                trials.starts, rough[:, 2:], trials.rows, trials.used, strict=True
            )
        )
        trials = trials.shifting(responses)
        known = np.concatenate([rough, np.zeros((len(rough), trials.shifts.shape[2]))], axis=1)
        relaxed = cls(trials, responses, known, trials.shape(known))
        for _ in range(ROUNDS):
            relaxed = relaxed.nearer(ROUGH)
        return relaxed

    def nearer(self, noise: Noise) -> Self:
        """One Gauss-Newton step on."""
        known = moved(self.known, self._linear(noise).solved(noise, STEPS).parameters)
        return replace(self, known=known, shape=self.trials.shape(known))

    def _linear(self, noise: Noise) -> Linear:
        return self.trials.linear(self.known, self.shape, noise)

    def noise_by(self, leader: int) -> Noise:
        """The likeliest noise, and unrest of the atoms, one of the fits being right."""
        tried = [
            Noise(MODEL_SIGMA, sigma, FREEDOM, unrest)
            for sigma in SPOT_SIGMAS.tolist()
            for unrest in UNREST.tolist()
        ]
        same = self._linear(tried[0]).take([leader] * len(tried))
        precision = np.stack([prior_precision(each, self.known.shape[1]) for each in tried])
        intensity = self.shape.intensity[[leader]]
        variance = np.concatenate([self.trials.variance(intensity, each) for each in tried])
        evidence = _evidence(replace(same, variance=variance, precision=precision), tried[0])
        off = np.log([each.spot_sigma / SPOT_SIGMAS[2] for each in tried]) / _SPOT_SIGMA_SPREAD
        apart = np.log([each.unrest for each in tried]) / _UNREST_SPREAD
        return tried[int(np.argmax(evidence - (off**2 + apart**2) / 2))]

    def evidence(self, noise: Noise) -> FloatArray:
        """(J,) ln of likelihood and prior, all that was fitted integrated out, but for the beams that were not seen."""
        return _evidence(self._linear(noise), noise)

    def fits(self, noise: Noise) -> list[Fit]:
        """All of it at the optima."""
        linear = self._linear(noise)
        solution, information = linear.solved(noise, STEPS), linear.information(noise)
        covariance, prior = np.linalg.inv(information), linear.log_prior(solution.parameters, information)
        densities = noise.log_density(solution.left, linear.variance)
        known = moved(self.known, solution.parameters)
        unshifted = known.copy()
        unshifted[:, 4:] = 0.0
        computed = self.trials.measured - self.trials.residual(unshifted, self.trials.shape(unshifted))
        spread = np.sqrt(linear.variance + noise.unrest**2 * (linear.design[:, :, 4:] ** 2).sum(axis=2))
        return [
            Fit(
                tilt=known[row, 2:4],
                tilt_sigma=float(np.sqrt(np.linalg.eigvalsh(covariance[row, 2:4, 2:4])[-1])),
                b=float(known[row, 1]),
                b_sigma=float(np.sqrt(covariance[row, 1, 1])),
                computed=np.where(used, computed[row], np.nan),
                sigma=spread[row, used],
                log_densities=densities[row, used],
                absent=self._absent(row, known[row], covariance[row], noise),
                log_prior=float(prior[row]),
            )
            for row, used in enumerate(self.trials.used)
        ]

    def _absent(self, row: int, known: FloatArray, covariance: FloatArray, noise: Noise) -> Absent:
        """The beams that one of the fits expects and the pattern does not show."""
        start, rows = self.trials.starts[row], self.trials.rows[row, self.trials.used[row]]
        layer, observed, responses = start.layer, start.observed, self.responses[row]
        q = layer.hk @ start.basis
        q2 = np.einsum("md,md->m", q, q)
        of_shifts = slice(4, 4 + responses.shape[1])
        amplitude = _amplitude(start, known[2:4]) + responses @ known[of_shifts].astype(np.complex64)
        intensity = np.abs(amplitude).astype(np.float64) ** 2
        level, b = known[:2].tolist()
        above = np.log(intensity + 1e-6) + level - b * q2 / 2 - observed.faintest
        within = _within(q2, observed.squared[self.trials.used[row]]) & observed.shows(q)
        variance = noise.variance(intensity)
        # Beams that are hidden anyway need not be known better.
        near = within & (above > -_HIDDEN)
        slopes = log_slopes(amplitude[near], responses[near], intensity[near])
        variance[near] += np.einsum("mk,mk->m", slopes @ covariance[of_shifts, of_shifts], slopes)
        return Absent.of(layer.hk, above, within, rows, observed.faintest, np.sqrt(variance))


def _amplitude(start: Start, tilt: FloatArray) -> ComplexArray:
    """(M,) of all beams of a layer, no atom shifted."""
    series = start.layer.faces[start.seed.face].coefficients
    return np.asarray(monomials(tilt, len(series)).astype(np.complex64) @ series)


def _responses(start: Start, tilt: FloatArray, seen: IntArray) -> ComplexArray:
    """(M, K) of all beams of a layer, by the shifts that matter to those at the rows that were seen."""
    amplitude = _amplitude(start, tilt)
    responses = start.layer.scatterers.responses(tilt, start.seed.face, amplitude)
    return main_directions(responses, amplitude, seen)


def _evidence(problem: Linear, noise: Noise) -> FloatArray:
    """(J,) of linear problems; of the noise only its freedom counts."""
    solution = problem.solved(noise, STEPS)
    density = problem.used * noise.log_density(solution.left, problem.variance)
    return np.asarray(
        density.sum(axis=1) + problem.log_prior(solution.parameters, problem.information(noise))
    )


def _within(q2: FloatArray, measured: FloatArray) -> BoolArray:
    """(M,) beams no nearer and no further than the spots that have a beam: others the camera may not have seen."""
    if not len(measured):
        return np.zeros(len(q2), dtype=bool)
    nearest = max(float(np.sqrt(measured.min())) - INNER_MARGIN_INV_ANGSTROM, 0.0)
    return np.asarray((q2 < measured.max()) & (q2 > nearest**2))
