"""Patterns without intensities: which beams were seen, and which not, is all that their spots tell of the atoms."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from model.matching.fit import LOST, Fit, Layer, Seed
from model.matching.observation import Observation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The tilt is unknown, so a computed intensity says only roughly whether its beam is seen.
SEEN_SIGMA = 1.0
SEEN_BY_CHANCE = 0.02
LIMITS = 16


def best_seen(
    layer: Layer, observed: Observation, hk: IntArray, met: NDArray[np.bool_], bases: FloatArray
) -> Seed:
    """Of settings with indices (A, N, 2) and bases (A, 2, 2), the one whose bright beams are best those seen."""
    scores = [
        seen_or_not(layer, observed, own, met, basis).score() for own, basis in zip(hk, bases, strict=True)
    ]
    best = int(np.argmax(scores))
    return Seed(best, 0, np.zeros(2), scores[best])


def seen_or_not(
    layer: Layer, observed: Observation, hk: IntArray, met: NDArray[np.bool_], basis: FloatArray
) -> Fit:
    """How well the beams that ought to be seen are those that were, for an untilted layer.

    Beams brighter than some limit are seen; the limit is the one that suits the pattern best.

    Args:
        layer: the candidate.
        observed: the pattern.
        hk: (N, 2) indices of the spots.
        met: (N,) spots that lie on the lattice.
        basis: (2, 2) a* and b* as the camera sees them.
    """
    rows = layer.rows_of(hk)
    used = np.flatnonzero(met & (rows >= 0))
    level = np.log(layer.under(np.zeros((1, 2)))[0] + 1e-7)
    length = np.linalg.norm(layer.hk @ basis, axis=1)
    measured = np.sqrt(observed.squared[used]) if len(used) else np.zeros(1)
    within = (length < measured.max() * 1.001) & (length > measured.min() * 0.999)
    seen = np.zeros(len(level), dtype=bool)
    seen[rows[used]] = True
    seen, level = seen[within], level[within]
    limits = np.linspace(level.min(initial=0.0), level.max(initial=0.0), LIMITS)[:, None]
    chance = SEEN_BY_CHANCE + (1 - LOST - SEEN_BY_CHANCE) * ndtr((level - limits) / SEEN_SIGMA)
    likelihood = np.where(seen, np.log(chance), np.log1p(-chance)).sum(axis=1)
    best = int(np.argmax(likelihood))
    bright = level > limits[best] + SEEN_SIGMA
    return Fit(
        tilt=np.zeros(2),
        tilt_sigma=None,
        b=0.0,
        computed=np.where(met & (rows >= 0), 0.0, np.nan),
        residual=np.zeros(0),
        variance=np.ones(0),
        log_missing=float(likelihood[best]),
        log_prior=0.0,
        expected=int(bright.sum()),
        unseen=int((bright & ~seen).sum()),
    )
