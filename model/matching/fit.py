"""The intensities of crystals fitted to those of a pattern: tilt, thermal motion, and how the atoms lie.

What cannot be known is taken account of as in any likelihood: the further a fit has to move atoms the less likely it is
(`model/matching/displacements.py`), and of two fits alike the one wins that fits with less fine a choice of tilt, B and
shifts (Laplace's approximation of the integral over them). How noisy the pattern's intensities are is fitted too, to
its best explanation: what that leaves, no other can be blamed for.
Axes: J fits, N spots, M beams, K directions in which atoms may be shifted.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.absent import Absent
from model.matching.displacements import main_directions
from model.matching.noise import ROUGH, Noise
from model.matching.trials import EXPECTED, PRECISION, Linear, Shape, Start, Trials, moved
from model.physics.tilt_series import monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MODEL_SIGMA = 0.1
FREEDOM = 12.0
SPOT_SIGMAS = np.array([0.1, 0.14, 0.2, 0.28, 0.38, 0.5, 0.65, 0.85])
# Of the noise's logarithm, about SPOT_SIGMAS[2].
_SPOT_SIGMA_SPREAD = 0.8
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
    return relaxed.fits(noise)


@dataclass(frozen=True)
class _Relaxed:
    """J fits near their optima, made linear there, with the shifts of atoms as further parameters.

    Attributes:
        trials: what is fitted.
        known: (J, 4) where it is linear.
        shape: computed there.
        design: (J, N, 4 + K) derivatives of the computed ln I.
        responses: (J,) of (M, K') derivatives by the shifts, of all beams of each layer, K' <= K.
    """

    trials: Trials
    known: FloatArray
    shape: Shape
    design: FloatArray
    responses: tuple[FloatArray, ...]

    @classmethod
    def of(cls, trials: Trials, known: FloatArray) -> Self:
        """Move to the optima with shifted atoms, beginning at rough ones."""
        responses = tuple(
            _responses(start, tilt, rows[used])
            for start, tilt, rows, used in zip(
                trials.starts, known[:, 2:], trials.rows, trials.used, strict=True
            )
        )
        shifts = np.zeros((*trials.rows.shape, max(each.shape[1] for each in responses)))
        for own, each, rows, used in zip(shifts, responses, trials.rows, trials.used, strict=True):
            own[used, : each.shape[1]] = each[rows[used]]
        for _ in range(ROUNDS):
            relaxed = cls._linear(trials, known, shifts, responses)
            known = moved(known, relaxed._problem(ROUGH).solved(known, ROUGH, STEPS).parameters)
        return cls._linear(trials, known, shifts, responses)

    @classmethod
    def _linear(
        cls, trials: Trials, known: FloatArray, shifts: FloatArray, responses: tuple[FloatArray, ...]
    ) -> Self:
        shape = trials.shape(known)
        design = np.concatenate([trials.design(shape), shifts], axis=2)
        return cls(trials, known, shape, design, responses)

    def _problem(self, noise: Noise) -> Linear:
        residual = self.trials.residual(self.known, self.shape)
        return Linear(residual, self.design, noise.variance(self.shape.intensity), self.trials.used)

    def noise_by(self, leader: int) -> Noise:
        """The likeliest noise, one of the fits being right."""
        tried = [Noise(MODEL_SIGMA, sigma, FREEDOM) for sigma in SPOT_SIGMAS.tolist()]
        rows = np.full(len(tried), leader)
        variance = np.stack([each.variance(self.shape.intensity[leader]) for each in tried])
        problem = self._problem(tried[0])
        same = Linear(problem.residual[rows], problem.design[rows], variance, problem.used[rows])
        off = np.log(SPOT_SIGMAS / SPOT_SIGMAS[2]) / _SPOT_SIGMA_SPREAD
        return tried[int(np.argmax(_evidence(same, self.known[rows], tried[0]) - off**2 / 2))]

    def evidence(self, noise: Noise) -> FloatArray:
        """(J,) ln of likelihood and prior, all that was fitted integrated out, but for the beams that were not seen."""
        return _evidence(self._problem(noise), self.known, noise)

    def fits(self, noise: Noise) -> list[Fit]:
        """All of it at the optima."""
        problem = self._problem(noise)
        solution = problem.solved(self.known, noise, STEPS)
        information = problem.information(noise)
        covariance, prior = np.linalg.inv(information), _log_prior(solution.parameters, information)
        densities = noise.log_density(solution.left, problem.variance)
        parameters = np.concatenate(
            [moved(self.known, solution.parameters), solution.parameters[:, 4:]], axis=1
        )
        measured = self.trials.measured
        unshifted = solution.left + np.einsum("jnk,jk->jn", self.design[:, :, 4:], solution.parameters[:, 4:])
        spread = np.sqrt(problem.variance + (self.design[:, :, 4:] ** 2).sum(axis=2))
        fits = []
        for row, used in enumerate(self.trials.used):
            known = parameters[row]
            fits.append(
                Fit(
                    tilt=known[2:4],
                    tilt_sigma=float(np.sqrt(np.linalg.eigvalsh(covariance[row, 2:4, 2:4])[-1])),
                    b=float(known[1]),
                    b_sigma=float(np.sqrt(covariance[row, 1, 1])),
                    computed=np.where(used, measured - unshifted[row], np.nan),
                    sigma=spread[row, used],
                    log_densities=densities[row, used],
                    absent=self._absent(row, known, covariance[row], noise),
                    log_prior=float(prior[row]),
                )
            )
        return fits

    def _absent(self, row: int, known: FloatArray, covariance: FloatArray, noise: Noise) -> Absent:
        """The beams that one of the fits expects and the pattern does not show."""
        start, rows = self.trials.starts[row], self.trials.rows[row, self.trials.used[row]]
        layer, observed, responses = start.layer, start.observed, self.responses[row]
        q = layer.hk @ start.basis
        q2 = np.einsum("md,md->m", q, q)
        intensity = layer.faces[start.seed.face].intensities(known[None, 2:4])[0].astype(np.float64)
        level, b = known[:2].tolist()
        above = np.log(intensity + 1e-6) + level - b * q2 / 2 - observed.faintest
        within = _within(q2, observed.squared[self.trials.used[row]]) & observed.shows(q)
        variance = noise.variance(intensity)
        # Beams that are hidden anyway need not be known better.
        near, count = within & (above > -_HIDDEN), 4 + responses.shape[1]
        above[near] += responses[near] @ known[4:count]
        variance[near] += np.einsum(
            "mk,mk->m", responses[near] @ covariance[4:count, 4:count], responses[near]
        )
        return Absent.of(layer.hk, above, within, rows, observed.faintest, np.sqrt(variance))


def _responses(start: Start, tilt: FloatArray, seen: IntArray) -> FloatArray:
    """(M, K) of all beams of a layer, by the shifts that matter to those at the rows that were seen."""
    layer, face = start.layer, start.seed.face
    series = layer.faces[face].coefficients
    amplitude = monomials(tilt, len(series)).astype(np.complex64) @ series
    responses = layer.scatterers.responses(tilt, face, amplitude)
    return main_directions(responses, responses[seen])


def _evidence(problem: Linear, known: FloatArray, noise: Noise) -> FloatArray:
    """(J,) of problems that are linear at what is known (J, 4); of the noise only its freedom counts."""
    solution = problem.solved(known, noise, STEPS)
    density = problem.used * noise.log_density(solution.left, problem.variance)
    return np.asarray(density.sum(axis=1) + _log_prior(solution.parameters, problem.information(noise)))


def _log_prior(parameters: FloatArray, information: FloatArray) -> FloatArray:
    """(J,) ln prior of parameters (J, Q), and of the room that the data leave them, but for the level's."""
    off = parameters[:, 1:].copy()
    off[:, :3] = (off[:, :3] - EXPECTED[1:]) * np.sqrt(PRECISION[1:])
    room = np.linalg.slogdet(information)[1] - np.log(PRECISION[1:]).sum()
    return np.asarray(-(off**2).sum(axis=1) / 2 - room / 2)


def _within(q2: FloatArray, measured: FloatArray) -> BoolArray:
    """(M,) beams no nearer and no further than the spots that have a beam: others the camera may not have seen."""
    if not len(measured):
        return np.zeros(len(q2), dtype=bool)
    nearest = max(float(np.sqrt(measured.min())) - INNER_MARGIN_INV_ANGSTROM, 0.0)
    return np.asarray((q2 < measured.max()) & (q2 > nearest**2))
