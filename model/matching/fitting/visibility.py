"""Patterns without intensities: the only evidence on the atoms is which reflections were measured.

A reflection brighter than some limit is measured, a fainter one is not; the limit is the one that suits the pattern
best. Axes: A variants of an orientation, N spots, M reflections, L limits.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from model.matching.fitting.candidate_diffraction import CandidateDiffraction, FitStart, OrientedCandidate
from model.matching.fitting.fit import Fit, MissingReflections
from model.matching.priors import LOSS_PROBABILITY
from model.pattern.observation import Observation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

VISIBILITY_SIGMA = 1.0
"""rms error of the computed ln intensities: the tilt is unknown."""
CHANCE_PROBABILITY = 0.02
"""Probability that a reflection is measured however faint it is."""
LIMITS = 24
MIN_INTENSITY = 1e-7


def find_visible_start(candidate: OrientedCandidate) -> FitStart:
    """Find the variant whose bright reflections agree best with those that were measured."""
    _, measured, in_range = _find_measured(candidate, candidate.variants.rows, candidate.variants.bases)
    likelihood, _ = _compute_likelihood(_compute_log_brightness(candidate.diffraction), measured, in_range)
    scores = likelihood.max(axis=1)
    best = int(np.argmax(scores))
    return FitStart(candidate, best, 0, np.zeros(2), float(scores[best]))


def fit_visibility(start: FitStart) -> Fit:
    """Evaluate how well the bright reflections of the untilted layer agree with those that were measured."""
    diffraction, variants = start.candidate.diffraction, start.candidate.variants
    rows, basis = variants.rows[start.variant], variants.bases[start.variant]
    (used,), (measured,), (in_range,) = _find_measured(start.candidate, rows[None], basis[None])
    brightness = _compute_log_brightness(diffraction)
    likelihood, limits = _compute_likelihood(brightness, measured[None], in_range[None])
    best = int(np.argmax(likelihood[0]))
    bright = in_range & (brightness > limits[best] + VISIBILITY_SIGMA)
    missed = bright & ~measured
    return Fit(
        tilt=np.zeros(2),
        tilt_sigma=None,
        b_factor=None,
        b_factor_sigma=None,
        computed=np.where(used, 0.0, np.nan),
        sigma=np.zeros(0),
        log_densities=np.zeros(0),
        missing=MissingReflections(
            hk=diffraction.hk[missed],
            computed=brightness[missed],
            log_densities=np.log1p(-_compute_probability(brightness[missed], limits[best])),
            log_likelihood=float(likelihood[0, best]),
            expected=int(bright.sum()),
        ),
        log_prior=0.0,
    )


def _find_measured(
    candidate: OrientedCandidate, rows: IntArray, bases: FloatArray
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Return spots with a reflection (A, N), measured reflections (A, M), and reflections in range (A, M).

    Args:
        candidate: what is fitted.
        rows: (A, N) row of each spot's reflection in some of the variants, -1 if there is none.
        bases: (A, 2, 2) of these.
    """
    hk, observed = candidate.diffraction.hk, candidate.observed
    used = candidate.on_lattice & (rows >= 0)
    measured = np.zeros((len(rows), len(hk)), dtype=bool)
    variant, spot = np.nonzero(used)
    measured[variant, rows[variant, spot]] = True
    q = hk @ bases
    length = np.linalg.norm(q, axis=2)
    in_range = np.stack(
        [_is_in_range(lengths, observed, spots) for lengths, spots in zip(length, used, strict=True)]
    )
    return used, measured, in_range & observed.is_visible(q)


def _compute_log_brightness(diffraction: CandidateDiffraction) -> FloatArray:
    """Return the ln intensities (M,) of the untilted layer."""
    return np.asarray(np.log(diffraction.kinematic_intensity + MIN_INTENSITY))


def _is_in_range(length: FloatArray, observed: Observation, used: BoolArray) -> BoolArray:
    """Return which |q| (M,) lie between those of the innermost and the outermost spot (N,) with a reflection."""
    if not used.any():
        return np.zeros(len(length), dtype=bool)
    measured = np.sqrt(observed.q_squared[used])
    return np.asarray((length < measured.max() * 1.001) & (length > measured.min() * 0.999))


def _compute_likelihood(
    brightness: FloatArray, measured: BoolArray, in_range: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return the ln likelihood (A, L) under each limit of brightness, and the limits (L,).

    Args:
        brightness: (M,) ln intensities.
        measured: (A, M) reflections that were measured.
        in_range: (A, M) reflections within the range of the pattern.
    """
    # At the lowest limit even the faintest reflection is surely measured.
    lowest = brightness.min(initial=0.0) - 3 * VISIBILITY_SIGMA
    limits = np.linspace(lowest, brightness.max(initial=0.0), LIMITS)
    probability = _compute_probability(brightness, limits[:, None])
    present, absent = np.log(probability), np.log1p(-probability)
    likelihood = (in_range & measured) @ present.T + (in_range & ~measured) @ absent.T
    return np.asarray(likelihood, dtype=np.float64), limits


def _compute_probability(brightness: FloatArray, limit: FloatArray | float) -> FloatArray:
    """Return the probability that reflections of a brightness are measured."""
    visible = ndtr((brightness - limit) / VISIBILITY_SIGMA)
    return np.asarray(CHANCE_PROBABILITY + (1 - LOSS_PROBABILITY - CHANCE_PROBABILITY) * visible)
