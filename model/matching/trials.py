"""Crystals held against the intensities of a pattern, each in a setting; and the first, rough fit of each.

Gauss-Newton steps with a robust weight (Student's t) find tilt, scale of the intensities and thermal motion.
Axes: J trials, N spots, M beams, P terms of a tilt series, K directions in which atoms may be shifted, Q = 4 + K.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.layer import Layer
from model.matching.noise import FLOOR, ROUGH, Noise, log_slopes
from model.matching.observation import Observation
from model.matching.priors import B_EXPECTED, B_RANGE, B_SIGMA, TILT_SIGMA
from model.matching.seeds import Seed
from model.physics.tilt_series import MAX_TILT_TANGENT, monomial_slopes, monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

ROUNDS = 4
LONGEST_STEP_TANGENT = 0.025
# What the level of ln I, B and the tilt's tangents are expected to be, and how surely.
EXPECTED = np.array([0.0, B_EXPECTED, 0.0, 0.0])
PRECISION = np.array([1e-6, B_SIGMA**-2, TILT_SIGMA**-2, TILT_SIGMA**-2])


@dataclass(frozen=True)
class Start:
    """A fit that is to be made.

    Attributes:
        layer: the candidate.
        observed: the pattern in the candidate's scale.
        met: (N,) spots that lie on the lattice.
        hk: (N, 2) indices of the spots in the setting.
        basis: (2, 2) the setting's basis, which places the beams that were not seen.
        seed: face, and the tilt to begin with.
    """

    layer: Layer
    observed: Observation
    met: BoolArray
    hk: IntArray
    basis: FloatArray
    seed: Seed


@dataclass(frozen=True)
class Shape:
    """What is computed but for level and B.

    Attributes:
        intensity: (J, N) relative to the strongest beam of the untilted layer.
        log_intensity: (J, N) ln of it, floored.
        slopes: (J, N, 2 + K) derivatives of that by the tilt's tangents and the shifts.
    """

    intensity: FloatArray
    log_intensity: FloatArray
    slopes: FloatArray


@dataclass(frozen=True)
class Trials:
    """What J trials share, and the trials' own.

    What is `known` of each, (J, Q), are level, B, the tangents of the tilt, and the shifts in their rms.

    Attributes:
        starts: where they begin.
        rows: (J, N) of the spots among the layer's beams, -1 where there is none.
        used: (J, N) spots that lie on the lattice and have a beam.
        measured: (N,) ln I.
        flank_variance: (N,) of ln I of saturated spots, besides the noise's.
        damping: (J, N) derivative of ln I by B.
        coefficients: (J, P, N) of the tilt series of the spots' beams.
        shifts: (J, N, K) derivatives of the amplitudes by the shifts.
    """

    starts: Sequence[Start]
    rows: IntArray
    used: BoolArray
    measured: FloatArray
    flank_variance: FloatArray
    damping: FloatArray
    coefficients: ComplexArray
    shifts: ComplexArray

    @classmethod
    def of(cls, starts: Sequence[Start]) -> Self:
        """The trials of at least one start, all on the same pattern, no atom shifted."""
        rows = np.stack([start.layer.rows_of(start.hk) for start in starts])
        series = [start.layer.faces[start.seed.face].coefficients for start in starts]
        coefficients = np.zeros((len(starts), max(map(len, series)), rows.shape[1]), dtype=np.complex64)
        for own, each, row in zip(coefficients, series, rows, strict=True):
            own[: len(each)] = each[:, row]
        return cls(
            starts=starts,
            rows=rows,
            used=np.stack([start.met for start in starts]) & (rows >= 0),
            measured=starts[0].observed.log_intensity,
            flank_variance=starts[0].observed.flank_variance,
            damping=np.stack([-start.observed.squared / 2 for start in starts]),
            coefficients=coefficients,
            shifts=np.zeros((*rows.shape, 0), dtype=np.complex64),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, kept: Sequence[int]) -> Self:
        """Some of them."""
        rows = list(kept)
        return type(self)(
            [self.starts[row] for row in rows],
            self.rows[rows],
            self.used[rows],
            self.measured,
            self.flank_variance,
            self.damping[rows],
            self.coefficients[rows],
            self.shifts[rows],
        )

    def shifting(self, responses: Sequence[ComplexArray]) -> Self:
        """With shifted atoms, given the derivatives (M, K) of the amplitudes of each layer's beams; K may differ."""
        shifts = np.zeros((*self.rows.shape, max(each.shape[1] for each in responses)), dtype=np.complex64)
        for own, each, rows, used in zip(shifts, responses, self.rows, self.used, strict=True):
            own[used, : each.shape[1]] = each[rows[used]]
        return replace(self, shifts=shifts)

    def shape(self, known: FloatArray) -> Shape:
        """Computed under the tilts, with the atoms shifted."""
        terms = self.coefficients.shape[1]
        tilt, shift = known[:, 2:4], known[:, 4:].astype(np.complex64)
        wanted = np.concatenate([monomials(tilt, terms)[:, None], monomial_slopes(tilt, terms)], axis=1)
        amplitude, along_x, along_y = (wanted.astype(np.complex64) @ self.coefficients).transpose(1, 0, 2)
        amplitude = amplitude + (self.shifts @ shift[..., None])[..., 0]
        intensity = np.abs(amplitude).astype(np.float64) ** 2
        slopes = np.concatenate([along_x[..., None], along_y[..., None], self.shifts], axis=2)
        steep = np.asarray(log_slopes(amplitude, slopes, intensity), dtype=np.float64)
        return Shape(intensity, np.log(intensity + FLOOR), steep)

    def residual(self, known: FloatArray, shape: Shape) -> FloatArray:
        """(J, N) measured less computed ln I."""
        level, b = known[:, :1], known[:, 1:2]
        return self.measured - shape.log_intensity - level - b * self.damping

    def variance(self, intensity: FloatArray, noise: Noise) -> FloatArray:
        """(..., N) expected of the residuals of spots with such computed intensities."""
        return noise.variance(intensity) + self.flank_variance

    def design(self, shape: Shape) -> FloatArray:
        """(J, N, Q) derivatives of the computed ln I by what is known."""
        return np.concatenate(
            [np.ones_like(self.damping)[..., None], self.damping[..., None], shape.slopes], axis=2
        )

    def linear(self, known: FloatArray, shape: Shape, noise: Noise) -> "Linear":
        """The fits, made linear at what is known."""
        return Linear(
            known,
            self.residual(known, shape),
            self.design(shape),
            self.variance(shape.intensity, noise),
            self.used,
            np.broadcast_to(prior_precision(noise, known.shape[1]), known.shape),
        )

    def roughly(self) -> tuple[FloatArray, FloatArray]:
        """What is known (J, 4) at the optima next to the starts, no atom shifted; and its score (J,)."""
        known = self._begun()
        best, highest = known, np.full(len(self), -np.inf)
        for _ in range(ROUNDS):
            shape = self.shape(known)
            score = self._rough_score(known, shape)
            better = score > highest
            best, highest = np.where(better[:, None], known, best), np.where(better, score, highest)
            known = moved(known, self.linear(known, shape, ROUGH).solved(ROUGH, 2).parameters)
        score = self._rough_score(known, self.shape(known))
        better = score > highest
        return np.where(better[:, None], known, best), np.maximum(score, highest)

    def _begun(self) -> FloatArray:
        tilt = np.stack([start.seed.tilt for start in self.starts])
        start = np.column_stack([np.zeros(len(tilt)), np.full(len(tilt), B_EXPECTED), tilt])
        left = self.measured - self.shape(start).log_intensity - B_EXPECTED * self.damping
        return np.column_stack([_medians(left, self.used), start[:, 1:]])

    def _rough_score(self, known: FloatArray, shape: Shape) -> FloatArray:
        """(J,) ln likelihood and prior, but for the beams that were not seen."""
        density = ROUGH.log_density(self.residual(known, shape), self.variance(shape.intensity, ROUGH))
        off = PRECISION * (known - EXPECTED) ** 2
        return np.asarray((self.used * density).sum(axis=1) - off.sum(axis=1) / 2)


@dataclass(frozen=True)
class Solution:
    """The optimum of J linear problems of Q parameters.

    Attributes:
        parameters: (J, Q).
        left: (J, N) what remains of the residuals.
    """

    parameters: FloatArray
    left: FloatArray


@dataclass(frozen=True)
class Linear:
    """J fits made linear at what is known.

    Attributes:
        known: (J, Q) where they are linear.
        residual: (J, N) measured less computed ln I there.
        design: (J, N, Q) derivatives of what is computed.
        variance: (J, N) of the residuals.
        used: (J, N) those that count.
        precision: (J, Q) of the prior.
    """

    known: FloatArray
    residual: FloatArray
    design: FloatArray
    variance: FloatArray
    used: BoolArray
    precision: FloatArray

    def take(self, kept: Sequence[int]) -> Self:
        """Some of them, perhaps several times."""
        rows = list(kept)
        return type(self)(
            self.known[rows],
            self.residual[rows],
            self.design[rows],
            self.variance[rows],
            self.used[rows],
            self.precision[rows],
        )

    @property
    def _expected(self) -> FloatArray:
        """(Q,) by the prior."""
        return _padded(EXPECTED, self.known.shape[1], 0.0)

    @property
    def _prior(self) -> FloatArray:
        """(J, Q, Q) its information."""
        return np.asarray(self.precision[:, :, None] * np.eye(self.known.shape[1]))

    def solved(self, noise: Noise, steps: int) -> Solution:
        """The optimum after so many reweighted least-squares steps."""
        expected, prior = self._expected, self._prior
        at, left = self.known, self.residual
        for _ in range(steps):
            weight = self.used * noise.robust_weight(left, self.variance)
            weighted = (self.design * weight[..., None]).transpose(0, 2, 1)
            normal = weighted @ self.design + prior
            pull = np.einsum("jpn,jn->jp", weighted, left) - self.precision * (at - expected)
            at = at + np.linalg.solve(normal, pull[..., None])[..., 0]
            left = self.residual - np.einsum("jnp,jp->jn", self.design, at - self.known)
        return Solution(at, left)

    def information(self, noise: Noise) -> FloatArray:
        """(J, Q, Q) expected of the data, and of the prior."""
        weighted = self.design * (self.used * noise.curvature(self.variance))[..., None]
        return np.asarray(weighted.transpose(0, 2, 1) @ self.design + self._prior)

    def log_prior(self, parameters: FloatArray, information: FloatArray) -> FloatArray:
        """(J,) ln prior of parameters (J, Q), and of the room that the data leave them, but for the level's."""
        off = (parameters - self._expected)[:, 1:]
        room = np.linalg.slogdet(information)[1] - np.log(self.precision[:, 1:]).sum(axis=1)
        return np.asarray(-(self.precision[:, 1:] * off**2).sum(axis=1) / 2 - room / 2)


def moved(known: FloatArray, wanted: FloatArray) -> FloatArray:
    """(J, Q) from what is known towards what is wanted, a step that is not too long, to a place that can be."""
    turn = _shortened(wanted[:, 2:4] - known[:, 2:4], LONGEST_STEP_TANGENT)
    tilt = _shortened(known[:, 2:4] + turn, MAX_TILT_TANGENT)
    return np.column_stack([wanted[:, 0], np.clip(wanted[:, 1], *B_RANGE), tilt, wanted[:, 4:]])


def prior_precision(noise: Noise, count: int) -> FloatArray:
    """(count,) of the prior of what is known."""
    return _padded(PRECISION, count, noise.unrest**-2)


def _padded(first: FloatArray, count: int, rest: float) -> FloatArray:
    """(count,) values of which the last are all the same."""
    return np.concatenate([first, np.full(count - len(first), rest)])


def _medians(values: FloatArray, used: BoolArray) -> FloatArray:
    """(J,) of the used values (J, N) of each row, the lower of two middle ones; 0 where none is used."""
    ascending = np.sort(np.where(used, values, np.inf), axis=1)
    count = used.sum(axis=1)
    middle = ascending[np.arange(len(values)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, middle, 0.0)


def _shortened(vectors: FloatArray, longest: float) -> FloatArray:
    """(J, 2) no longer than this."""
    length = np.hypot(vectors[:, :1], vectors[:, 1:])
    return np.asarray(vectors * np.minimum(1.0, longest / np.maximum(length, 1e-12)))
