"""Crystals held against the intensities of a pattern, each in a setting; and the first, rough fit of each.

Gauss-Newton steps with a robust weight (Student's t) find tilt, scale of the intensities and thermal motion.
Axes: J trials, N spots, M beams, P terms of a tilt series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.layer import Layer
from model.matching.noise import FLOOR, ROUGH, Noise
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
        slopes: (J, N, 2) derivatives of that by the tilt's tangents.
    """

    intensity: FloatArray
    log_intensity: FloatArray
    slopes: FloatArray


@dataclass(frozen=True)
class Trials:
    """What J trials share, and the trials' own; `known` (J, 4) are level, B and the tangents of the tilt.

    Attributes:
        starts: where they begin.
        rows: (J, N) of the spots among the layer's beams, -1 where there is none.
        used: (J, N) spots that lie on the lattice and have a beam.
        measured: (N,) ln I.
        damping: (J, N) derivative of ln I by B.
        coefficients: (J, P, N) of the tilt series of the spots' beams.
    """

    starts: Sequence[Start]
    rows: IntArray
    used: BoolArray
    measured: FloatArray
    damping: FloatArray
    coefficients: ComplexArray

    @classmethod
    def of(cls, starts: Sequence[Start]) -> Self:
        """The trials of at least one start, all on the same pattern."""
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
            damping=np.stack([-start.observed.squared / 2 for start in starts]),
            coefficients=coefficients,
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
            self.damping[rows],
            self.coefficients[rows],
        )

    def shape(self, known: FloatArray) -> Shape:
        """Computed under the tilts."""
        terms = self.coefficients.shape[1]
        tilt = known[:, 2:]
        wanted = np.concatenate([monomials(tilt, terms)[:, None], monomial_slopes(tilt, terms)], axis=1)
        amplitude, *slopes = (wanted.astype(np.complex64) @ self.coefficients).transpose(1, 0, 2)
        intensity = np.abs(amplitude).astype(np.float64) ** 2
        steep = np.stack([2 * (amplitude.conj() * slope).real for slope in slopes], axis=-1)
        return Shape(intensity, np.log(intensity + FLOOR), steep / (intensity + FLOOR)[..., None])

    def residual(self, known: FloatArray, shape: Shape) -> FloatArray:
        """(J, N) measured less computed ln I."""
        level, b = known[:, :1], known[:, 1:2]
        return self.measured - shape.log_intensity - level - b * self.damping

    def design(self, shape: Shape) -> FloatArray:
        """(J, N, 4) derivatives of the computed ln I by what is known."""
        return np.concatenate(
            [np.ones_like(self.damping)[..., None], self.damping[..., None], shape.slopes], axis=2
        )

    def roughly(self) -> tuple[FloatArray, FloatArray]:
        """What is known (J, 4) at the optima next to the starts, no atom shifted; and its score (J,)."""
        known = self._begun()
        best, highest = known, np.full(len(self), -np.inf)
        for _ in range(ROUNDS):
            shape = self.shape(known)
            score = self._score(known, shape, ROUGH)
            better = score > highest
            best, highest = np.where(better[:, None], known, best), np.where(better, score, highest)
            known = self._improved(known, shape, ROUGH)
        score = self._score(known, self.shape(known), ROUGH)
        better = score > highest
        return np.where(better[:, None], known, best), np.maximum(score, highest)

    def _begun(self) -> FloatArray:
        tilt = np.stack([start.seed.tilt for start in self.starts])
        start = np.column_stack([np.zeros(len(tilt)), np.full(len(tilt), B_EXPECTED), tilt])
        left = self.measured - self.shape(start).log_intensity - B_EXPECTED * self.damping
        return np.column_stack([_medians(left, self.used), start[:, 1:]])

    def _score(self, known: FloatArray, shape: Shape, noise: Noise) -> FloatArray:
        """(J,) ln likelihood and prior, but for the beams that were not seen."""
        density = noise.log_density(self.residual(known, shape), noise.variance(shape.intensity))
        off = PRECISION * (known - EXPECTED) ** 2
        return np.asarray((self.used * density).sum(axis=1) - off.sum(axis=1) / 2)

    def _improved(self, known: FloatArray, shape: Shape, noise: Noise) -> FloatArray:
        """(J, 4) after a Gauss-Newton step, not too long a one."""
        linear = Linear(
            self.residual(known, shape), self.design(shape), noise.variance(shape.intensity), self.used
        )
        return moved(known, linear.solved(known, noise, 2).parameters)


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
        residual: (J, N) measured less computed ln I there.
        design: (J, N, Q) derivatives of what is computed by level, B, the tangents of the tilt, and further parameters
            whose prior is normal with a deviation of 1 about 0.
        variance: (J, N) of the residuals.
        used: (J, N) those that count.
    """

    residual: FloatArray
    design: FloatArray
    variance: FloatArray
    used: BoolArray

    @property
    def precision(self) -> FloatArray:
        """(Q,) of the prior."""
        further = self.design.shape[2] - len(PRECISION)
        return np.concatenate([PRECISION, np.ones(further)])

    def solved(self, known: FloatArray, noise: Noise, steps: int) -> Solution:
        """The optimum after so many reweighted least-squares steps.

        Args:
            known: (J, 4) where the problems are linear; the further parameters are 0 there.
            noise: of the residuals.
            steps: how many.
        """
        precision = self.precision
        further = np.zeros((len(known), len(precision) - known.shape[1]))
        start, expected = np.concatenate([known, further], axis=1), np.zeros(len(precision))
        expected[: len(EXPECTED)] = EXPECTED
        at, left = start, self.residual
        for _ in range(steps):
            weight = self.used * noise.robust_weight(left, self.variance)
            weighted = (self.design * weight[..., None]).transpose(0, 2, 1)
            normal = weighted @ self.design + np.diag(precision)
            pull = np.einsum("jpn,jn->jp", weighted, left) - precision * (at - expected)
            at = at + np.linalg.solve(normal, pull[..., None])[..., 0]
            left = self.residual - np.einsum("jnp,jp->jn", self.design, at - start)
        return Solution(at, left)

    def information(self, noise: Noise) -> FloatArray:
        """(J, Q, Q) expected of the data, and of the prior."""
        weighted = self.design * (self.used * noise.curvature(self.variance))[..., None]
        return np.asarray(weighted.transpose(0, 2, 1) @ self.design + np.diag(self.precision))


def moved(known: FloatArray, wanted: FloatArray) -> FloatArray:
    """(J, 4) from what is known towards what is wanted (J, Q), a step that is not too long, to a place that can be."""
    shift = _shortened(wanted[:, 2:4] - known[:, 2:], LONGEST_STEP_TANGENT)
    tilt = _shortened(known[:, 2:] + shift, MAX_TILT_TANGENT)
    return np.column_stack([wanted[:, 0], np.clip(wanted[:, 1], *B_RANGE), tilt])


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
