"""Rough fits: the best points of a grid of tilts, then a fit of tilt, level and B, with the atoms at rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.candidate_diffraction import FitStart, IntensityModel, OrientedCandidate
from model.matching.fitting.likelihood import ROUGH_NOISE, LinearFit, NormalPrior, limit_step, linearize
from model.matching.priors import (
    B_MEAN,
    INTENSITY_FLOOR,
    LEVEL,
    PARAMETER_MEAN,
    PARAMETER_PRECISION,
    TILT,
    TILT_SIGMA_RAD,
)
from model.physics.tilt_series import MAX_MONOMIALS, compute_monomials

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

TILT_RINGS_DEG = ((2.0, 6), (4.0, 12))
"""Tilts of the grid beside zero: angle, and number of azimuths."""
GAUSS_NEWTON_STEPS, REWEIGHTINGS = 4, 2
# Starts nearer to each other would likely end at the same optimum.
_MIN_SEPARATION_TANGENT = 0.02
# The strongest spots suffice to find starts; candidates are searched in batches, which bounds the memory.
_GRID_SPOTS, _BATCH = 80, 64


def _make_tilt_grid() -> FloatArray:
    """Return the tangents (T, 2) of the grid."""
    rings = [np.zeros((1, 2))]
    for tilt, count in TILT_RINGS_DEG:
        angle = 2 * np.pi * np.arange(count) / count
        rings.append(np.tan(np.radians(tilt)) * np.column_stack([np.cos(angle), np.sin(angle)]))
    return np.concatenate(rings)


_GRID = _make_tilt_grid()
_GRID_TERMS = compute_monomials(_GRID, MAX_MONOMIALS)


def find_starts(candidates: Sequence[OrientedCandidate], count: int) -> list[list[FitStart]]:
    """Find the best variants, faces and tilts of the grid for each candidate, without near neighbors.

    Args:
        candidates: what is fitted; all have intensities.
        count: number of starts of each candidate, at most.

    Returns:
        the starts of each candidate, best first.
    """
    starts: list[list[FitStart]] = []
    for first in range(0, len(candidates), _BATCH):
        batch = candidates[first : first + _BATCH]
        faces = [face for candidate in batch for face in candidate.diffraction.faces]
        intensity = [face.compute_intensities_from_monomials(_GRID_TERMS) for face in faces]
        # The coarse grid adds as much to the variance as the model's error.
        variance = [ROUGH_NOISE.compute_variance(each) + ROUGH_NOISE.model_sigma**2 for each in intensity]
        last = 0
        for candidate in batch:
            rows = slice(last, last := last + len(candidate.diffraction.faces))
            starts.append(_search_grid(candidate, np.stack(intensity[rows]), np.stack(variance[rows]), count))
    return starts


def _search_grid(
    candidate: OrientedCandidate, intensity: Floats, variance: Floats, count: int
) -> list[FitStart]:
    """Find the starts of a candidate, given its intensities and their variances (F, T, M) by faces and tilts."""
    observed = candidate.observed
    rows = np.ascontiguousarray(candidate.variants.rows[:, :_GRID_SPOTS])
    used = candidate.on_lattice[:_GRID_SPOTS] & (rows >= 0)
    computed = np.log(intensity + np.float32(INTENSITY_FLOOR))
    undamped = observed.log_intensity + B_MEAN * observed.q_squared / 2
    measured = undamped[:_GRID_SPOTS].astype(np.float32)
    # (F, T, A, N): faces, tilts, variants, spots
    residual = measured - computed[..., rows]
    spread, weight = (np.log(variance) / 2)[..., rows], (1 / variance)[..., rows]
    if observed.saturated.any():
        total = variance[..., rows] + observed.saturation_variance[:_GRID_SPOTS]
        spread, weight = np.log(total) / 2, 1 / total
    score = _score_residuals(residual, spread, weight * used, used)
    score -= (_GRID**2).sum(axis=1)[:, None] / (2 * TILT_SIGMA_RAD**2)
    return _select_starts(candidate, score, count)


def _score_residuals(residual: Floats, spread: Floats, weight: Floats, used: BoolArray) -> FloatArray:
    """Return ln likelihood (F, T, A) at the best level, given residuals, ln of their rms and weights (F, T, A, N)."""
    freedom = ROUGH_NOISE.freedom
    level = _average(residual, weight)
    for _ in range(2):
        level = _average(residual, weight / (1 + (residual - level) ** 2 * weight / freedom))
    tails = np.log1p((residual - level) ** 2 * weight / freedom).sum(axis=-1, dtype=np.float64)
    return np.asarray(-(freedom + 1) / 2 * tails - (spread * used).sum(axis=-1, dtype=np.float64))


def _average(values: Floats, weight: Floats) -> FloatArray:
    total = np.maximum(weight.sum(axis=-1, keepdims=True), 1e-9)
    return np.asarray((weight * values).sum(axis=-1, keepdims=True) / total)


def _select_starts(candidate: OrientedCandidate, score: FloatArray, count: int) -> list[FitStart]:
    """Return the best places of a score (F, T, A), without near neighbors."""
    starts: list[FitStart] = []
    for place in np.argsort(-score.round(6), axis=None, kind="stable")[: 8 * count].tolist():
        face, tilt, variant = np.unravel_index(place, score.shape)
        best = float(score[face, tilt, variant])
        start = FitStart(candidate, int(variant), int(face), _GRID[tilt], best)
        if not any(_is_near(start, other) for other in starts):
            starts.append(start)
        if len(starts) == count:
            break
    return starts


def _is_near(start: FitStart, other: FitStart) -> bool:
    """Whether the fits from two starts of a candidate would likely end at the same optimum."""
    if (start.variant, start.face) != (other.variant, other.face):
        return False
    return float(np.hypot(*(start.tilt - other.tilt))) < _MIN_SEPARATION_TANGENT


@dataclass(frozen=True)
class RoughFits:
    """J rough fits.

    Attributes:
        model: what was fitted.
        parameters: (J, 5) at the optima.
        score: (J,) ln of likelihood and prior there, without missing reflections.
    """

    model: IntensityModel
    parameters: FloatArray
    score: FloatArray

    def take(self, rows: Sequence[int]) -> Self:
        """Return these fits."""
        kept = list(rows)
        return type(self)(self.model.take(kept), self.parameters[kept], self.score[kept])


def fit_roughly(starts: Sequence[FitStart]) -> RoughFits:
    """Fit tilt, level and B of at least one start, with the atoms at rest, to the optimum next to it."""
    model = IntensityModel.from_starts(starts)
    prior = NormalPrior(
        np.tile(PARAMETER_MEAN, (len(starts), 1)), np.tile(PARAMETER_PRECISION, (len(starts), 1))
    )
    parameters = _initialize_parameters(model)
    best, best_score = parameters, np.full(len(starts), -np.inf)
    for step in range(GAUSS_NEWTON_STEPS + 1):
        fit = LinearFit.pose(ROUGH_NOISE, prior, linearize(model, parameters))
        score = fit.compute_log_posterior()
        better = score > best_score
        best, best_score = np.where(better[:, None], parameters, best), np.where(better, score, best_score)
        if step < GAUSS_NEWTON_STEPS:
            parameters = limit_step(parameters, fit.solve(REWEIGHTINGS).parameters)
    return RoughFits(model, best, best_score)


def _initialize_parameters(model: IntensityModel) -> FloatArray:
    """Return parameters (J, 5) at the starts, with the level as the median deviation there."""
    parameters = np.tile(PARAMETER_MEAN, (len(model.starts), 1))
    parameters[:, TILT] = np.stack([start.tilt for start in model.starts])
    parameters[:, LEVEL] = _find_medians(linearize(model, parameters).residual, model.used)
    return parameters


def _find_medians(values: FloatArray, used: BoolArray) -> FloatArray:
    """Return the median (J,) of the used values (J, N) of each row, the lower of two; 0 where none is used."""
    ascending = np.sort(np.where(used, values, np.inf), axis=1)
    count = used.sum(axis=1)
    middle = ascending[np.arange(len(values)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, middle, 0.0)
