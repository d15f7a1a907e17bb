"""The intensities of one crystal fitted to those of a pattern: setting, tilt, scale and thermal motion.

The model is a multislice of the unit cell. A grid of tilts finds the neighbourhood for every setting at once;
Gauss-Newton steps with a robust weight (Student's t) find the optimum. Axes: A settings, T tilts, N spots, M beams.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from model.crystal.crystal import Crystal
from model.matching.observation import Observation
from model.physics.kinematic import Geometry, structure_factors
from model.physics.multislice import Sheets
from model.physics.reciprocal import reflections

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

TILT_RINGS_DEG = ((2.0, 6), (4.0, 12))
MAX_TILT_TANGENT = 0.12
STEP_TANGENT = 0.006
LONGEST_STEP_TANGENT = 0.025
ROUNDS = 2
_NEIGHBOUR_TANGENT = 0.04

# What is expected before the pattern is seen: rms of each component of the tilt (radians), and of B (angstrom^2).
TILT_SIGMA = 0.045
B_EXPECTED, B_SIGMA, B_RANGE = 0.35, 0.6, (-1.5, 4.0)
# rms of ln I that the multislice leaves, and that a spot finder adds; the tails are those of Student's t.
MODEL_SIGMA = 0.2
SPOT_SIGMA = 0.15
FREEDOM = 4.0
# Diffuse scattering and relaxed atoms fill in faint beams: their ln I is uncertain, and never very low.
FLOOR = 3e-4
FAINT = 6e-4
# A beam is lost at random, or because it is fainter than the faintest spot.
LOST = 0.06
DETECTION_SIGMA = 0.3
REACH = 1.06
CLEARLY_ABOVE = 1.0
INNER_MARGIN_INV_ANGSTROM = 0.02
# Faces whose untilted beams differ by less than this share of the strongest are one.
SAME_FACES = 0.003


class Layer:
    """A candidate ready to be compared with a pattern.

    Args:
        crystal: the candidate.
        observed: the pattern; beams are computed as far out as it reaches.

    Its faces differ where no symmetry turns it over; then both may have been up.

    Attributes:
        hk: (M, 2) indices of the beams.
    """

    def __init__(self, crystal: Crystal, observed: Observation) -> None:
        self._crystal, self._voltage_kv = crystal, observed.voltage_kv
        self._q_max = observed.q_max_inv_angstrom * REACH
        self.hk = reflections(crystal.lattice, self._q_max)
        self._middle = np.abs(self.hk).max(axis=0, initial=0)
        self._place = np.full(2 * self._middle + 1, -1)
        self._place[self.hk[:, 0] + self._middle[0], self.hk[:, 1] + self._middle[1]] = np.arange(
            len(self.hk)
        )

    @cached_property
    def _faces(self) -> tuple[Sheets, Sheets]:
        """The layer and the same reflected in its plane."""
        face_up = Sheets.of(self._crystal, self._voltage_kv, self._q_max)
        return face_up, face_up.reversed()

    def of_both_faces(self, tilt: FloatArray) -> FloatArray:
        """(F, T, M) as `under`, for the faces that differ: two, or one; the first tilt has to be none."""
        up = self.under(tilt)
        straight = self.under(tilt[:1], 1)
        if np.abs(np.sort(up[0]) - np.sort(straight[0])).max(initial=0.0) <= SAME_FACES:
            return up[None]
        return np.stack([up, self.under(tilt, 1)])

    @cached_property
    def kinematic(self) -> FloatArray:
        """(M,) kinematic intensities of the untilted layer, relative to the strongest; fast, and roughly right."""
        geometry = Geometry(voltage_kv=self._voltage_kv, q_max_inv_angstrom=self._q_max)
        intensity = structure_factors(self._crystal, geometry).intensity
        return intensity / max(float(intensity.max(initial=0.0)), 1e-300)

    def under(self, tilt: FloatArray, face: int = 0) -> FloatArray:
        """(T, M) intensities for T tilts (T, 2), relative to the strongest of the first.

        Face 1 is the layer reflected in its plane, which is the flake face down, seen in a mirror.
        """
        intensity = self._faces[face].intensities(self.hk, tilt)
        return intensity / max(float(intensity[0].max(initial=0.0)), 1e-300)

    def rows_of(self, hk: IntArray) -> IntArray:
        """Row of each beam (..., 2), -1 where there is none."""
        inside = (np.abs(hk) <= self._middle).all(axis=-1)
        kept = np.where(inside[..., None], hk, 0) + self._middle
        return np.where(inside, self._place[kept[..., 0], kept[..., 1]], -1)


@dataclass(frozen=True)
class Seed:
    """Where a fit begins.

    Attributes:
        setting: index among the settings that were given.
        face: of the layer.
        tilt: (2,) tangents in the crystal's frame.
        score: ln of likelihood and prior there.
    """

    setting: int
    face: int
    tilt: FloatArray
    score: float

    def is_near(self, other: "Seed") -> bool:
        """Whether both would likely end at the same optimum."""
        if (self.setting, self.face) != (other.setting, other.face):
            return False
        return float(np.hypot(*(self.tilt - other.tilt))) < _NEIGHBOUR_TANGENT


@dataclass(frozen=True)
class Absent:
    """The beams that were not measured.

    Attributes:
        hk: (K, 2) indices of those that should have been seen.
        computed: (K,) their ln intensity on the measured scale.
        log_densities: (K,) ln likelihood of not having seen each.
        log_likelihood: of not having seen any of the absent beams, expected or not.
        expected: number of beams computed well above the faintest spot, seen or not.
    """

    hk: IntArray
    computed: FloatArray
    log_densities: FloatArray
    log_likelihood: float
    expected: int

    @classmethod
    def of(cls, hk: IntArray, above: FloatArray, within: BoolArray, seen: IntArray, faintest: float) -> Self:
        """Of M beams.

        Args:
            hk: (M, 2) their indices.
            above: (M,) ln of the intensity over that of the faintest spot.
            within: (M,) lies within the range of the pattern.
            seen: rows of the beams that were measured.
            faintest: ln of the faintest spot's intensity.
        """
        absent = within.copy()
        absent[seen] = False
        hidden = np.zeros(len(above))
        hidden[absent] = np.log(LOST + (1 - LOST) * ndtr(-above[absent] / DETECTION_SIGMA))
        strong = above > CLEARLY_ABOVE
        missing = absent & strong
        return cls(
            hk=hk[missing],
            computed=above[missing] + faintest,
            log_densities=hidden[missing],
            log_likelihood=float(hidden.sum()),
            expected=int((within & strong).sum()),
        )

    @property
    def share(self) -> float:
        """Of the beams that should have been seen, those that were not."""
        return len(self.hk) / max(self.expected, 1)


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
        return _log_density(self.residual, self.variance * noise)

    @property
    def noise(self) -> float:
        """How much larger the residuals are than expected, as a factor of the variance."""
        if not len(self.residual):
            return 1.0
        return float(np.median(self.residual**2 / self.variance)) / _MEDIAN_OF_SQUARE


# Of the square of a variable with Student's t of four degrees of freedom.
_MEDIAN_OF_SQUARE = 0.549


def _tilts() -> FloatArray:
    """(T, 2) the grid of tangents."""
    rings = [np.zeros((1, 2))]
    for tilt, count in TILT_RINGS_DEG:
        angle = 2 * np.pi * np.arange(count) / count
        rings.append(np.tan(np.radians(tilt)) * np.column_stack([np.cos(angle), np.sin(angle)]))
    return np.concatenate(rings)


_GRID = _tilts()


def seeds(layer: Layer, observed: Observation, hk: IntArray, met: BoolArray, count: int) -> list[Seed]:
    """The best of all settings under a grid of tilts, best first, neighbours on the grid left out.

    Args:
        layer: the candidate.
        observed: the pattern.
        hk: (A, N, 2) indices of the spots in each setting.
        met: (N,) spots that lie on the lattice.
        count: how many are wanted.
    """
    rows = layer.rows_of(hk)
    used = met & (rows >= 0)
    # (F, T, A, N): faces, tilts, settings, spots
    # A grid this coarse needs no more than single precision.
    intensity = layer.of_both_faces(_GRID).astype(np.float32)[..., np.maximum(rows, 0)]
    measured = (observed.log_intensity + B_EXPECTED * observed.squared / 2).astype(np.float32)
    residual = measured - np.log(intensity + np.float32(FLOOR))
    variance = expected_variance(intensity) + MODEL_SIGMA**2  # a coarse grid leaves as much again
    weight = used / variance
    level = _mean(residual, weight)
    for _ in range(2):
        level = _mean(residual, weight / (1 + (residual - level) ** 2 / (FREEDOM * variance)))
    score = (used * _log_density(residual - level, variance)).sum(axis=-1, dtype=np.float64)
    score -= (_GRID**2).sum(axis=1)[:, None] / (2 * TILT_SIGMA**2)
    found: list[Seed] = []
    for place in np.argsort(-score.round(6), axis=None, kind="stable")[: 8 * count].tolist():
        face, tilt, setting = np.unravel_index(place, score.shape)
        seed = Seed(int(setting), int(face), _GRID[tilt], float(score[face, tilt, setting]))
        if not any(seed.is_near(each) for each in found):
            found.append(seed)
        if len(found) == count:
            break
    return found


@dataclass(frozen=True)
class Start:
    """A fit that is to be made.

    Attributes:
        hk: (N, 2) indices of the spots in the setting.
        basis: (2, 2) the setting's basis, which places the beams that were not seen.
        seed: face, and the tilt to begin with.
    """

    hk: IntArray
    basis: FloatArray
    seed: Seed


def fitted(layer: Layer, observed: Observation, met: BoolArray, starts: Sequence[Start]) -> list[Fit]:
    """Refine tilt, scale of the intensities and B, which takes up the camera's response too, from each start.

    Args:
        layer: the candidate.
        observed: the pattern.
        met: (N,) spots that lie on the lattice.
        starts: where the fits begin; they run side by side, as many tilts at once are hardly dearer than one.
    """
    running = [_Refinement(layer, observed, met, start) for start in starts]
    for _ in range(ROUNDS):
        wanted = [each.tilt + _OFFSETS for each in running]
        for each, beams in zip(running, _computed(layer, running, wanted), strict=True):
            each.improve(beams)
    ends = _computed(layer, running, [each.tilt[None] for each in running])
    return [each.finished(beams[0]) for each, beams in zip(running, ends, strict=True)]


def _computed(
    layer: Layer, running: Sequence["_Refinement"], tilts: Sequence[FloatArray]
) -> list[FloatArray]:
    """Of each fit the intensities (T, M) under its tilts (T, 2), relative to the strongest of its first."""
    found: dict[int, FloatArray] = {}
    for face in {each.face for each in running}:
        own = [row for row, each in enumerate(running) if each.face == face]
        together = layer.under(np.concatenate([tilts[row] for row in own]), face)
        parts = np.split(together, np.cumsum([len(tilts[row]) for row in own])[:-1])
        found |= {row: part / max(float(part[0].max()), 1e-300) for row, part in zip(own, parts, strict=True)}
    return [found[row] for row in range(len(running))]


class _Refinement:
    """One fit on its way: tilt, level of ln I, and B."""

    def __init__(self, layer: Layer, observed: Observation, met: BoolArray, start: Start) -> None:
        rows = layer.rows_of(start.hk)
        self._layer, self._observed, self._basis = layer, observed, start.basis
        self._used = np.flatnonzero(met & (rows >= 0))
        self._rows, self._y = rows[self._used], observed.log_intensity[self._used]
        self._damping = -observed.squared[self._used] / 2
        self._level: float | None = None
        self._b = B_EXPECTED
        self._covariance = np.eye(4)
        self.face, self.tilt = start.seed.face, start.seed.tilt

    def improve(self, beams: FloatArray) -> None:
        """A Gauss-Newton step, given the intensities (3, M) at the tilt and beside it."""
        computed = np.log(beams[:, self._rows] + FLOOR)
        if self._level is None:
            self._level = _median(self._y - computed[0] - self._b * self._damping)
        slopes = (computed[1:] - computed[0]) / STEP_TANGENT
        design = np.stack([np.ones_like(self._y), self._damping, *slopes], axis=1)
        moved, self._covariance = _step(
            design,
            self._y - computed[0] - self._level - self._b * self._damping,
            expected_variance(beams[0, self._rows]),
            np.array([self._level, self._b, *self.tilt]),
        )
        self._level, self._b = float(moved[0]), float(np.clip(moved[1], *B_RANGE))
        shift = _shortened(moved[2:] - self.tilt, LONGEST_STEP_TANGENT)
        self.tilt = _shortened(self.tilt + shift, MAX_TILT_TANGENT)

    def finished(self, beams: FloatArray) -> Fit:
        """Level and B once more at the final tilt, given its intensities (M,), and what all of it explains."""
        observed, y, rows, damping = self._observed, self._y, self._rows, self._damping
        variance, shape = expected_variance(beams[rows]), np.log(beams[rows] + FLOOR)
        level, b = self._level or 0.0, self._b
        moved, _ = _step(
            np.stack([np.ones_like(y), damping], axis=1),
            y - shape - level - b * damping,
            variance,
            np.array([level, b]),
        )
        level, b = float(moved[0]), float(np.clip(moved[1], *B_RANGE))
        modelled = shape + level + b * damping
        computed = np.full(len(observed), np.nan)
        computed[self._used] = modelled
        q = self._layer.hk @ self._basis
        q2 = np.einsum("md,md->m", q, q)
        above = np.log(beams + 1e-6) + level - b * q2 / 2 - observed.faintest
        within = _within(q2, observed.squared[self._used])
        prior = float(self.tilt @ self.tilt) / TILT_SIGMA**2 + ((b - B_EXPECTED) / B_SIGMA) ** 2
        return Fit(
            tilt=self.tilt,
            tilt_sigma=float(np.sqrt(np.linalg.eigvalsh(self._covariance[2:, 2:])[-1])),
            b=b,
            b_sigma=float(np.sqrt(self._covariance[1, 1])),
            computed=computed,
            residual=y - modelled,
            variance=variance,
            absent=Absent.of(self._layer.hk, above, within, rows, observed.faintest),
            log_prior=-prior / 2,
        )


_OFFSETS = STEP_TANGENT * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
_EXPECTED = np.array([0.0, B_EXPECTED, 0.0, 0.0])
_PRECISION = np.array([1e-6, B_SIGMA**-2, TILT_SIGMA**-2, TILT_SIGMA**-2])


def _step(
    design: FloatArray, residual: FloatArray, variance: FloatArray, known: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Two reweighted least-squares steps from the known parameters, and the covariance at their end.

    Args:
        design: (K, P) derivatives by level, B and, where they are fitted, the tilt's tangents.
        residual: (K,) at the known parameters.
        variance: (K,) of the residuals.
        known: (P,) parameters to begin with.
    """
    expected, precision = _EXPECTED[: len(known)], _PRECISION[: len(known)]
    moved = known
    for _ in range(2):
        left = residual - design @ (moved - known)
        weight = (FREEDOM + 1) / (FREEDOM + left**2 / variance) / variance
        weighted = (design * weight[:, None]).T
        normal = weighted @ design + np.diag(precision)
        moved = moved + np.linalg.solve(normal, weighted @ left - precision * (moved - expected))
    return moved, np.asarray(np.linalg.inv(normal), dtype=np.float64)


def _within(q2: FloatArray, measured: FloatArray) -> BoolArray:
    """(M,) beams no nearer and no further than the spots that have a beam: others the camera may not have seen."""
    if not len(measured):
        return np.zeros(len(q2), dtype=bool)
    nearest = max(float(np.sqrt(measured.min())) - INNER_MARGIN_INV_ANGSTROM, 0.0)
    return np.asarray((q2 < measured.max()) & (q2 > nearest**2))


def expected_variance(intensity: Floats) -> FloatArray:
    """Expected variance of ln I of beams with these relative intensities."""
    return np.asarray(MODEL_SIGMA**2 + SPOT_SIGMA**2 + FAINT / (intensity + 1e-3))


def _log_density(residual: Floats, variance: Floats) -> FloatArray:
    """ln of Student's t, up to a constant."""
    tails = np.log1p(residual**2 / (FREEDOM * variance))
    return np.asarray(-(FREEDOM + 1) / 2 * tails - np.log(variance) / 2)


def _mean(values: Floats, weight: Floats) -> FloatArray:
    total = np.maximum(weight.sum(axis=-1, keepdims=True), 1e-9)
    return np.asarray((weight * values).sum(axis=-1, keepdims=True) / total)


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _shortened(vector: FloatArray, longest: float) -> FloatArray:
    shortened: FloatArray = vector * min(1.0, longest / max(float(np.hypot(*vector)), 1e-12))
    return shortened
