"""Patterns without intensities: which beams were seen, and which not, is all that their spots tell of the atoms."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from model.matching.fitting.candidate_diffraction import Layer
from model.matching.fitting.missing_reflections import LOST, Absent
from model.matching.fitting.refinement import Fit
from model.matching.fitting.rough_fit import Start
from model.matching.fitting.starting_points import Seed
from model.pattern.observation import Observation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# The tilt is unknown, so a computed intensity says only roughly whether its beam is seen.
SEEN_SIGMA = 1.0
SEEN_BY_CHANCE = 0.02
LIMITS = 24
FAINTEST = 1e-7


def best_seen(layer: Layer, observed: Observation, hk: IntArray, met: BoolArray, bases: FloatArray) -> Seed:
    """Of settings with indices (A, N, 2) and bases (A, 2, 2), the one whose bright beams are best those seen."""
    _, seen, within = _seen(layer, observed, hk, met, bases)
    likelihood, _ = _likelihood(_brightness(layer), seen, within)
    scores = likelihood.max(axis=1)
    best = int(np.argmax(scores))
    return Seed(best, 0, np.zeros(2), float(scores[best]))


def seen_or_not(start: Start) -> Fit:
    """How well the beams that ought to be seen are those that were, for an untilted layer.

    Beams brighter than some limit are seen; the limit is the one that suits the pattern best.
    """
    layer = start.layer
    (used,), (seen,), (within,) = _seen(layer, start.observed, start.hk[None], start.met, start.basis[None])
    brightness = _brightness(layer)
    likelihood, limits = _likelihood(brightness, seen[None], within[None])
    best = int(np.argmax(likelihood[0]))
    bright = within & (brightness > limits[best] + SEEN_SIGMA)
    missed = bright & ~seen
    return Fit(
        tilt=np.zeros(2),
        tilt_sigma=None,
        b=None,
        b_sigma=None,
        computed=np.where(used, 0.0, np.nan),
        sigma=np.zeros(0),
        log_densities=np.zeros(0),
        absent=Absent(
            hk=layer.hk[missed],
            computed=brightness[missed],
            log_densities=np.log1p(-_chance(brightness[missed], limits[best])),
            log_likelihood=float(likelihood[0, best]),
            expected=int(bright.sum()),
        ),
        log_prior=0.0,
    )


def _seen(
    layer: Layer, observed: Observation, hk: IntArray, met: BoolArray, bases: FloatArray
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """In A settings: spots that have a beam (A, N), beams that were seen (A, M), beams within range (A, M)."""
    rows = layer.rows_of(hk)
    used = met & (rows >= 0)
    seen = np.zeros((len(hk), len(layer.hk)), dtype=bool)
    setting, spot = np.nonzero(used)
    seen[setting, rows[setting, spot]] = True
    q = layer.hk @ bases
    length = np.linalg.norm(q, axis=2)
    within = np.stack([_within(own, observed, spots) for own, spots in zip(length, used, strict=True)])
    return used, seen, within & observed.is_visible(q)


def _brightness(layer: Layer) -> FloatArray:
    """(M,) ln intensity of the untilted layer's beams, floored."""
    return np.asarray(np.log(layer.kinematic + FAINTEST))


def _within(length: FloatArray, observed: Observation, used: BoolArray) -> BoolArray:
    """(M,) beams no nearer and no further than the spots (N,) that have a beam."""
    if not used.any():
        return np.zeros(len(length), dtype=bool)
    measured = np.sqrt(observed.squared[used])
    return np.asarray((length < measured.max() * 1.001) & (length > measured.min() * 0.999))


def _likelihood(brightness: FloatArray, seen: BoolArray, within: BoolArray) -> tuple[FloatArray, FloatArray]:
    """ln likelihood (A, L) of what was seen of the beams within range, (A, M) each, and the L limits of brightness."""
    # From where even the faintest beam is surely seen.
    faintest = brightness.min(initial=0.0) - 3 * SEEN_SIGMA
    limits = np.linspace(faintest, brightness.max(initial=0.0), LIMITS)
    chance = _chance(brightness, limits[:, None])
    present, absent = np.log(chance), np.log1p(-chance)
    likelihood = (within & seen) @ present.T + (within & ~seen) @ absent.T
    return np.asarray(likelihood, dtype=np.float64), limits


def _chance(brightness: FloatArray, limit: FloatArray | float) -> FloatArray:
    """That beams of a brightness are seen."""
    return np.asarray(SEEN_BY_CHANCE + (1 - LOST - SEEN_BY_CHANCE) * ndtr((brightness - limit) / SEEN_SIGMA))
