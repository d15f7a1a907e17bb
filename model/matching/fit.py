"""The intensities of crystals fitted to those of a pattern: tilt, scale of the intensities and thermal motion.

Gauss-Newton steps with a robust weight (Student's t) find the optimum; the fits of all candidates run side by side.
Axes: J fits, N spots, M beams, P terms of a tilt series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.absent import Absent
from model.matching.layer import Layer
from model.matching.noise import FLOOR, MEDIAN_OF_SQUARE, expected_variance, log_density, robust_weight
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
INNER_MARGIN_INV_ANGSTROM = 0.02
# What the level of ln I, B and the tilt's tangents are expected to be, and how surely.
_EXPECTED = np.array([0.0, B_EXPECTED, 0.0, 0.0])
_PRECISION = np.array([1e-6, B_SIGMA**-2, TILT_SIGMA**-2, TILT_SIGMA**-2])


@dataclass(frozen=True)
class Fit:
    """The best explanation of a pattern's intensities by one crystal in one setting.

    Attributes:
        tilt: (2,) tangents of the tilt in the crystal's frame.
        tilt_sigma: their standard error, the larger of the two; None where the tilt was not fitted.
        b: Debye-Waller B with the camera's response in it, angstrom^2; None where it was not fitted.
        b_sigma: its standard error.
        computed: (N,) ln intensity of each spot on the measured scale; NaN where no beam belongs to it.
        residual: (K,) measured less computed ln I, of the K spots that have a beam.
        variance: (K,) expected of it.
        absent: the beams within the pattern's range that were not measured.
        log_prior: ln prior of tilt and B.
    """

    tilt: FloatArray
    tilt_sigma: float | None
    b: float | None
    b_sigma: float | None
    computed: FloatArray
    residual: FloatArray
    variance: FloatArray
    absent: Absent
    log_prior: float

    def score(self, noise: float = 1.0) -> float:
        """ln of likelihood and prior, with all variances times `noise`."""
        return float(self.densities(noise).sum()) + self.absent.log_likelihood + self.log_prior

    def densities(self, noise: float = 1.0) -> FloatArray:
        """(K,) ln likelihood of each of the spots that have a beam."""
        return log_density(self.residual, self.variance * noise)

    @property
    def noise(self) -> float:
        """How much larger the residuals are than expected, as a factor of the variance."""
        if not len(self.residual):
            return 1.0
        return float(np.median(self.residual**2 / self.variance)) / MEDIAN_OF_SQUARE


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


def fitted(starts: Sequence[Start]) -> list[Fit]:
    """Refine tilt, scale of the intensities and B, which takes up the camera's response too, from each start.

    Args:
        starts: where the fits begin, all on the same pattern.
    """
    if not starts:
        return []
    data = _Data.of(starts)
    known = data.begun(np.stack([start.seed.tilt for start in starts]))
    best, highest = known, np.full(len(starts), -np.inf)
    for _ in range(ROUNDS):
        shape = data.shape(known)
        score = data.score(known, shape)
        better = score > highest
        best, highest = np.where(better[:, None], known, best), np.where(better, score, highest)
        known = data.improved(known, shape)
    shape = data.shape(known)
    better = data.score(known, shape) > highest
    return data.fits(np.where(better[:, None], known, best))


@dataclass(frozen=True)
class _Shape:
    """Computed ln I but for level and B, (J, N); its derivatives by the tilt's tangents, (J, N, 2); and variance."""

    log_intensity: FloatArray
    slopes: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class _Data:
    """What J fits share, and the J fits' own; `known` (J, 4) are level, B and the tangents of the tilt.

    Attributes:
        starts: the fits.
        rows: (J, N) of the spots among the layer's beams, -1 where there is none.
        used: (J, N) spots that lie on the lattice and have a beam.
        measured: (N,) ln I.
        flank_variance: (N,) of ln I of saturated spots.
        damping: (J, N) derivative of ln I by B.
        coefficients: (J, P, N) of the tilt series of the spots' beams.
    """

    starts: Sequence[Start]
    rows: IntArray
    used: BoolArray
    measured: FloatArray
    flank_variance: FloatArray
    damping: FloatArray
    coefficients: ComplexArray

    @classmethod
    def of(cls, starts: Sequence[Start]) -> Self:
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
        )

    def begun(self, tilt: FloatArray) -> FloatArray:
        """(J, 4) to begin with, under these tilts (J, 2)."""
        start = np.column_stack([np.zeros(len(tilt)), np.full(len(tilt), B_EXPECTED), tilt])
        left = self.measured - self.shape(start).log_intensity - B_EXPECTED * self.damping
        return np.column_stack([_medians(left, self.used), start[:, 1:]])

    def shape(self, known: FloatArray) -> _Shape:
        terms = self.coefficients.shape[1]
        tilt = known[:, 2:]
        wanted = np.concatenate([monomials(tilt, terms)[:, None], monomial_slopes(tilt, terms)], axis=1)
        amplitude, *slopes = (wanted.astype(np.complex64) @ self.coefficients).transpose(1, 0, 2)
        intensity = np.abs(amplitude).astype(np.float64) ** 2
        steep = np.stack([2 * (amplitude.conj() * slope).real for slope in slopes], axis=-1)
        return _Shape(
            np.log(intensity + FLOOR),
            steep / (intensity + FLOOR)[..., None],
            expected_variance(intensity) + self.flank_variance,
        )

    def residual(self, known: FloatArray, shape: _Shape) -> FloatArray:
        """(J, N) measured less computed ln I."""
        level, b = known[:, :1], known[:, 1:2]
        return self.measured - shape.log_intensity - level - b * self.damping

    def score(self, known: FloatArray, shape: _Shape) -> FloatArray:
        """(J,) ln likelihood and prior, but for the beams that were not seen."""
        density = log_density(self.residual(known, shape), shape.variance)
        off = _PRECISION * (known - _EXPECTED) ** 2
        return np.asarray((self.used * density).sum(axis=1) - off.sum(axis=1) / 2)

    def improved(self, known: FloatArray, shape: _Shape) -> FloatArray:
        """(J, 4) after a Gauss-Newton step, not too long a one."""
        moved, _ = self._stepped(known, shape, 4)
        shift = _shortened(moved[:, 2:] - known[:, 2:], LONGEST_STEP_TANGENT)
        tilt = _shortened(known[:, 2:] + shift, MAX_TILT_TANGENT)
        return np.column_stack([moved[:, 0], np.clip(moved[:, 1], *B_RANGE), tilt])

    def fits(self, known: FloatArray) -> list[Fit]:
        """Level and B once more at the final tilts, and what all of it explains."""
        shape = self.shape(known)
        covariance = self._stepped(known, shape, 4)[1]
        moved = self._stepped(known, shape, 2)[0]
        final = np.column_stack([moved[:, 0], np.clip(moved[:, 1], *B_RANGE), known[:, 2:]])
        residual = self.residual(final, shape)
        return [
            _finished(
                start,
                final[row],
                covariance[row],
                self.rows[row, used],
                used,
                residual[row, used],
                shape.variance[row, used],
            )
            for row, (start, used) in enumerate(zip(self.starts, self.used, strict=True))
        ]

    def _stepped(self, known: FloatArray, shape: _Shape, count: int) -> tuple[FloatArray, FloatArray]:
        """The first `count` parameters (J, P) after two reweighted least-squares steps, and their covariance."""
        design = np.concatenate(
            [np.ones_like(self.damping)[..., None], self.damping[..., None], shape.slopes], axis=2
        )[..., :count]
        start, expected, precision = known[:, :count], _EXPECTED[:count], _PRECISION[:count]
        residual, moved = self.residual(known, shape), start
        for _ in range(2):
            left = residual - np.einsum("jnp,jp->jn", design, moved - start)
            weight = self.used * robust_weight(left, shape.variance)
            weighted = (design * weight[..., None]).transpose(0, 2, 1)
            normal = weighted @ design + np.diag(precision)
            pull = np.einsum("jpn,jn->jp", weighted, left) - precision * (moved - expected)
            moved = moved + np.linalg.solve(normal, pull[..., None])[..., 0]
        return moved, np.linalg.inv(normal)


def _finished(
    start: Start,
    known: FloatArray,
    covariance: FloatArray,
    rows: IntArray,
    used: BoolArray,
    residual: FloatArray,
    variance: FloatArray,
) -> Fit:
    """A fit at its end, with what it computes and misses."""
    observed, layer = start.observed, start.layer
    level, b, *tangents = known.tolist()
    tilt = np.array(tangents)
    computed = np.full(len(observed), np.nan)
    computed[used] = observed.log_intensity[used] - residual
    q = layer.hk @ start.basis
    q2 = np.einsum("md,md->m", q, q)
    beams = layer.faces[start.seed.face].intensities(tilt[None])[0]
    above = np.log(beams + 1e-6) + level - b * q2 / 2 - observed.faintest
    within = _within(q2, observed.squared[used]) & observed.shows(q)
    prior = float(tilt @ tilt) / TILT_SIGMA**2 + ((b - B_EXPECTED) / B_SIGMA) ** 2
    return Fit(
        tilt=tilt,
        tilt_sigma=float(np.sqrt(np.linalg.eigvalsh(covariance[2:, 2:])[-1])),
        b=b,
        b_sigma=float(np.sqrt(covariance[1, 1])),
        computed=computed,
        residual=residual,
        variance=variance,
        absent=Absent.of(layer.hk, above, within, rows, observed.faintest),
        log_prior=-prior / 2,
    )


def _within(q2: FloatArray, measured: FloatArray) -> BoolArray:
    """(M,) beams no nearer and no further than the spots that have a beam: others the camera may not have seen."""
    if not len(measured):
        return np.zeros(len(q2), dtype=bool)
    nearest = max(float(np.sqrt(measured.min())) - INNER_MARGIN_INV_ANGSTROM, 0.0)
    return np.asarray((q2 < measured.max()) & (q2 > nearest**2))


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
