"""Where the fits of a candidate begin: the best of its settings and faces under a grid of tilts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.candidate_diffraction import Layer
from model.matching.fitting.intensity_noise import INTENSITY_FLOOR, ROUGH_NOISE
from model.matching.fitting.priors import B_EXPECTED, TILT_SIGMA
from model.pattern.observation import Observation
from model.physics.tilt_series import MOST_TERMS, monomials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

TILT_RINGS_DEG = ((2.0, 6), (4.0, 12))
_NEIGHBOUR_TANGENT = 0.02
# The strongest say where to begin.
_SPOTS = 80


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


def _tilts() -> FloatArray:
    """(T, 2) the grid of tangents."""
    rings = [np.zeros((1, 2))]
    for tilt, count in TILT_RINGS_DEG:
        angle = 2 * np.pi * np.arange(count) / count
        rings.append(np.tan(np.radians(tilt)) * np.column_stack([np.cos(angle), np.sin(angle)]))
    return np.concatenate(rings)


_GRID = _tilts()
_GRID_TERMS = monomials(_GRID, MOST_TERMS)


def seeds(layer: Layer, observed: Observation, hk: IntArray, met: BoolArray, count: int) -> list[Seed]:
    """The best of all settings under a grid of tilts, best first, neighbours on the grid left out.

    Args:
        layer: the candidate.
        observed: the pattern.
        hk: (A, N, 2) indices of the spots in each setting.
        met: (N,) spots that lie on the lattice.
        count: how many are wanted.
    """
    rows = layer.rows_of(hk[:, :_SPOTS])
    used = met[:_SPOTS] & (rows >= 0)
    # (F, T, M): faces, tilts, beams
    intensity = np.stack([face.intensities_by(_GRID_TERMS) for face in layer.faces])
    computed = np.log(intensity + np.float32(INTENSITY_FLOOR))
    variance = (
        ROUGH_NOISE.variance(intensity) + ROUGH_NOISE.model_sigma**2
    )  # a coarse grid leaves as much again
    undamped = observed.log_intensity + B_EXPECTED * observed.squared / 2
    measured = undamped[:_SPOTS].astype(np.float32)
    # (F, T, A, N): faces, tilts, settings, spots
    residual = measured - computed[..., rows]
    spread, weight = (np.log(variance) / 2)[..., rows], (1 / variance)[..., rows]
    if observed.saturated.any():
        own = variance[..., rows] + observed.saturation_variance[:_SPOTS]
        spread, weight = np.log(own) / 2, 1 / own
    weight = weight * used
    level = _mean(residual, weight)
    for _ in range(2):
        level = _mean(residual, weight / (1 + (residual - level) ** 2 * weight / ROUGH_NOISE.freedom))
    tails = np.log1p((residual - level) ** 2 * weight / ROUGH_NOISE.freedom).sum(axis=-1, dtype=np.float64)
    score = -(ROUGH_NOISE.freedom + 1) / 2 * tails - (spread * used).sum(axis=-1, dtype=np.float64)
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


def _mean(values: Floats, weight: Floats) -> FloatArray:
    total = np.maximum(weight.sum(axis=-1, keepdims=True), 1e-9)
    return np.asarray((weight * values).sum(axis=-1, keepdims=True) / total)
