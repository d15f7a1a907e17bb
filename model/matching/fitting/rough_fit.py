"""Crystals held against the intensities of a pattern, each in a setting; and the first, rough fit of each.

Gauss-Newton steps with a robust weight (Student's t) find tilt, scale of the intensities and thermal motion.
Axes: J trials, N spots, M beams, P terms of a tilt series, K directions in which atoms may be shifted, Q = 5 + K.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.candidate_diffraction import Layer
from model.matching.fitting.displacements import Unrest
from model.matching.fitting.intensity_noise import (
    INTENSITY_FLOOR,
    ROUGH_NOISE,
    IntensityNoise,
    compute_log_slopes,
)
from model.matching.fitting.least_squares import Linear, Prior
from model.matching.fitting.priors import AT_REST, B_EXPECTED, B_RANGE, B_SIGMA, TILT_SIGMA
from model.matching.fitting.starting_points import Seed
from model.pattern.observation import Observation
from model.physics.tilt_series import MAX_TILT_TANGENT, monomial_slopes, monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

ROUNDS = 4
LONGEST_STEP_TANGENT = 0.025
TILT, DIFFUSE, SHIFTS = slice(2, 4), 4, slice(5, None)
"""Where among what is known the tangents of the tilt are, ln of the diffuse share, and the shifts."""
# What the level of ln I, B, the tilt's tangents and ln of the diffuse share are expected to be, and how surely.
EXPECTED = np.array([0.0, B_EXPECTED, 0.0, 0.0, AT_REST.log_share])
PRECISION = np.array([1e-6, B_SIGMA**-2, TILT_SIGMA**-2, TILT_SIGMA**-2, AT_REST.log_share_sigma**-2])
# Of ln of the diffuse share, which its slope knows for small steps alone.
_LONGEST_DIFFUSE_STEP = 1.5


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
        slopes: (J, N, 3 + K) derivatives of that by the tilt's tangents, ln of the diffuse share and the shifts.
    """

    intensity: FloatArray
    log_intensity: FloatArray
    slopes: FloatArray

    def take(self, kept: Sequence[int]) -> Self:
        """Of some of the trials."""
        rows = list(kept)
        return type(self)(self.intensity[rows], self.log_intensity[rows], self.slopes[rows])


@dataclass(frozen=True)
class Trials:
    """What J trials share, and the trials' own.

    What is `known` of each, (J, Q), are level, B, the tangents of the tilt, ln of the share of the diffuse scattering
    that lies within the spots, and the shifts in their rms.

    Attributes:
        starts: where they begin.
        rows: (J, N) of the spots among the layer's beams, -1 where there is none.
        used: (J, N) spots that lie on the lattice and have a beam.
        measured: (N,) ln I.
        saturation_variance: (N,) of ln I of saturated spots, besides the noise's.
        damping: (J, N) derivative of ln I by B.
        coefficients: (J, P, N) of the tilt series of the spots' beams.
        shifts: (J, N, K) derivatives of the amplitudes by the shifts.
        diffuse: (J, N) intensity of all the diffuse scattering.
    """

    starts: Sequence[Start]
    rows: IntArray
    used: BoolArray
    measured: FloatArray
    saturation_variance: FloatArray
    damping: FloatArray
    coefficients: ComplexArray
    shifts: ComplexArray
    diffuse: FloatArray

    @classmethod
    def of(cls, starts: Sequence[Start]) -> Self:
        """The trials of at least one start, all on the same pattern, every atom still where the library has it."""
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
            saturation_variance=starts[0].observed.saturation_variance,
            damping=np.stack([-start.observed.squared / 2 for start in starts]),
            coefficients=coefficients,
            shifts=np.zeros((*rows.shape, 0), dtype=np.complex64),
            diffuse=np.zeros(rows.shape),
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
            self.saturation_variance,
            self.damping[rows],
            self.coefficients[rows],
            self.shifts[rows],
            self.diffuse[rows],
        )

    def loosened(self, unrest: Sequence[Unrest]) -> Self:
        """With atoms that do not lie still, given what that does to each layer's beams; K may differ."""
        shifts = np.zeros(
            (*self.rows.shape, max(each.shifts.shape[1] for each in unrest)), dtype=np.complex64
        )
        diffuse = np.zeros(self.rows.shape)
        for row, each in enumerate(unrest):
            used, beams = self.used[row], self.rows[row, self.used[row]]
            shifts[row, used, : each.shifts.shape[1]] = each.shifts[beams]
            diffuse[row, used] = each.diffuse[beams]
        return replace(self, shifts=shifts, diffuse=diffuse)

    def shape(self, known: FloatArray) -> Shape:
        """Computed under the tilts, with the atoms shifted."""
        terms = self.coefficients.shape[1]
        tilt, shift = known[:, TILT], known[:, SHIFTS].astype(np.complex64)
        diffuse = np.exp(known[:, [DIFFUSE]]) * self.diffuse
        wanted = np.concatenate([monomials(tilt, terms)[:, None], monomial_slopes(tilt, terms)], axis=1)
        amplitude, along_x, along_y = (wanted.astype(np.complex64) @ self.coefficients).transpose(1, 0, 2)
        amplitude = amplitude + (self.shifts @ shift[..., None])[..., 0]
        intensity = np.abs(amplitude).astype(np.float64) ** 2 + diffuse
        by_tilt = compute_log_slopes(amplitude, np.stack([along_x, along_y], axis=2), intensity)
        by_shifts = compute_log_slopes(amplitude, self.shifts, intensity)
        by_diffuse = (diffuse / (intensity + INTENSITY_FLOOR))[..., None]
        slopes = np.concatenate([by_tilt, by_diffuse, by_shifts], axis=2).astype(np.float64)
        return Shape(intensity, np.log(intensity + INTENSITY_FLOOR), slopes)

    def residual(self, known: FloatArray, shape: Shape) -> FloatArray:
        """(J, N) measured less computed ln I."""
        level, b = known[:, :1], known[:, 1:2]
        return self.measured - shape.log_intensity - level - b * self.damping

    def variance(self, intensity: FloatArray, noise: IntensityNoise) -> FloatArray:
        """(..., N) expected of the residuals of spots with such computed intensities."""
        return noise.variance(intensity) + self.saturation_variance

    def design(self, shape: Shape) -> FloatArray:
        """(J, N, Q) derivatives of the computed ln I by what is known."""
        return np.concatenate(
            [np.ones_like(self.damping)[..., None], self.damping[..., None], shape.slopes], axis=2
        )

    def linear(self, known: FloatArray, shape: Shape, noise: IntensityNoise, prior: Prior) -> Linear:
        """The fits, made linear at what is known."""
        return Linear(
            known,
            self.residual(known, shape),
            self.design(shape),
            self.variance(shape.intensity, noise),
            self.used,
            prior,
        )

    def roughly(self) -> tuple[FloatArray, FloatArray]:
        """What is known (J, 5) at the optima next to the starts, no atom shifted; and its score (J,)."""
        known = self._begun()
        prior = Prior(np.tile(EXPECTED, (len(self), 1)), np.tile(PRECISION, (len(self), 1)))
        best, highest = known, np.full(len(self), -np.inf)
        for _ in range(ROUNDS):
            shape = self.shape(known)
            score = self._rough_score(known, shape)
            better = score > highest
            best, highest = np.where(better[:, None], known, best), np.where(better, score, highest)
            known = moved(
                known, self.linear(known, shape, ROUGH_NOISE, prior).solved(ROUGH_NOISE, 2).parameters
            )
        score = self._rough_score(known, self.shape(known))
        better = score > highest
        return np.where(better[:, None], known, best), np.maximum(score, highest)

    def _begun(self) -> FloatArray:
        tilt = np.stack([start.seed.tilt for start in self.starts])
        start = np.tile(EXPECTED, (len(self), 1))
        start[:, TILT] = tilt
        left = self.measured - self.shape(start).log_intensity - B_EXPECTED * self.damping
        return np.column_stack([_medians(left, self.used), start[:, 1:]])

    def _rough_score(self, known: FloatArray, shape: Shape) -> FloatArray:
        """(J,) ln likelihood and prior, but for the beams that were not seen."""
        density = ROUGH_NOISE.log_density(
            self.residual(known, shape), self.variance(shape.intensity, ROUGH_NOISE)
        )
        off = PRECISION * (known - EXPECTED) ** 2
        return np.asarray((self.used * density).sum(axis=1) - off.sum(axis=1) / 2)


def moved(known: FloatArray, wanted: FloatArray) -> FloatArray:
    """(J, Q) from what is known towards what is wanted, a step that is not too long, to a place that can be."""
    reached = wanted.copy()
    reached[:, 1] = np.clip(wanted[:, 1], *B_RANGE)
    turn = _shortened(wanted[:, TILT] - known[:, TILT], LONGEST_STEP_TANGENT)
    reached[:, TILT] = _shortened(known[:, TILT] + turn, MAX_TILT_TANGENT)
    step = wanted[:, DIFFUSE] - known[:, DIFFUSE]
    reached[:, DIFFUSE] = known[:, DIFFUSE] + np.clip(step, -_LONGEST_DIFFUSE_STEP, _LONGEST_DIFFUSE_STEP)
    return reached


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
