"""Verify the candidates of a search against the pattern itself: which of them explain it, and how well.

The score of a candidate is the ln of a likelihood: of the spots' positions given its lattice, of their intensities
given its atoms, and of the reflections that were not measured. `docs/matching.md` describes the method.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.matching.confidence import CALIBRATIONS, Confidence, estimate_confidence
from model.matching.depth import DEPTHS, Depth, VerificationEffort
from model.matching.fitting.candidate_diffraction import FitStart
from model.matching.fitting.fit import Fit
from model.matching.fitting.refinement import evaluate_rough_fits, refine
from model.matching.fitting.rough_fit import fit_roughly
from model.matching.fitting.visibility import fit_visibility
from model.matching.match import FittedOrientation, Match
from model.matching.place_candidates import LatticePlacement, PlacedCandidate, ScalePrior
from model.matching.priors import CELL_SIGMA, SIMILARITY_WEIGHT, TILT
from model.pattern.observation import Observation
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_START_GAP = 10.0
"""Starts that are worse than the candidate's best by more are not used."""
MAX_REFINED_OPTIMA, MAX_OPTIMUM_GAP = 2, 3.0
"""Optima of one candidate that are refined, and how much worse than its best they may be."""
SAME_OPTIMUM_TANGENT = 0.01
"""Rough fits of one orientation with tilts nearer to each other have reached one optimum."""
HOPELESS_GAP = 25.0
"""Candidates whose rough fits are worse than the best by more are refined only to make up `Depth.min_refined`."""


@dataclass(frozen=True)
class Verification:
    """The result of the verification of C candidates.

    Attributes:
        ranking: (C,) indices of the candidates, best first: refined ones by likelihood and similarity, then those
            fitted roughly, then those whose lattice fits by the best place of the grid, then the others by similarity.
        matches: (C,) how each candidate matches, for those that were refined; and a rough match, with the atoms where
            the library has them, for the first of the ranking. None for others, and where the lattice does not fit.
        scores: (C,) ln likelihood and weighted similarity of refined candidates; -inf for others.
        similar_count: number of candidates that should be computed by their similarity, though time may not suffice.
        confidence: probabilities and verdict; None without intensities, for which they are not calibrated.
    """

    ranking: IntArray
    matches: tuple[Match | None, ...]
    scores: FloatArray
    similar_count: int
    confidence: Confidence | None


def verify(
    crystals: Sequence[Crystal],
    similarity: Sequence[float],
    spots: Spots,
    voltage_kv: float,
    effort: VerificationEffort = "verify",
    scale: ScalePrior | None = None,
    cell_sigma: FloatArray | float = CELL_SIGMA,
    match_count: int = 0,
) -> Verification:
    """Verify candidates against a pattern.

    Args:
        crystals: the C candidates.
        similarity: (C,) by the towers; it decides which candidates are computed.
        spots: the pattern.
        voltage_kv: accelerating voltage.
        effort: how many candidates are computed and refined.
        scale: what is known of the pattern's scale, if not what the spots state.
        cell_sigma: rms error of ln of the lengths of each candidate's cell, (C,) or one for all.
        match_count: so many of the first in the ranking get a match, within the limits of the effort.

    Raises:
        OptionError: the number of similarities, or of scales, is not that of the crystals.
        NoSpotsError: no spots within the range of the models.
    """
    if len(similarity) != len(crystals):
        raise OptionError(
            f"Got {len(similarity)} similarities for {len(crystals)} crystals; give one for each."
        )
    scale = scale or ScalePrior(spots.scale_sigma)
    scales = scale.scale_candidates(len(crystals))
    scale_sigma = np.hypot(scale.sigma, np.broadcast_to(cell_sigma, len(crystals)))
    if not crystals:
        return _verify_nothing(spots, effort)
    depth, near = DEPTHS[effort, spots.intensity is not None], np.asarray(similarity, dtype=np.float64)

    observed = Observation.from_spots(spots, voltage_kv)
    placement = LatticePlacement.find(crystals, scales, scale_sigma, observed)
    orientations, similar_count = placement.select(near, depth)
    placed = placement.place(orientations, depth.starts)
    fits = _fit_leaders(placed, near, depth)
    ranking, scores = _rank(near, fits)
    matches: list[Match | None] = [None] * len(crystals)
    for row, match in _describe(fits.refined).items():
        matches[row] = match
    confidence = None
    if spots.intensity is not None:
        confidence = estimate_confidence(matches, scores, len(spots), similar_count, CALIBRATIONS[effort])

    # Rough matches come after the confidence, which takes candidates with a match as refined.
    leaders = ranking[: min(match_count, depth.max_matches)].tolist()
    unmatched = [row for row in leaders if matches[row] is None]
    for row, match in _describe(_fit_remaining(unmatched, placed, placement)).items():
        matches[row] = replace(match, refined=False)
    return Verification(ranking, tuple(matches), scores, similar_count, confidence)


def _verify_nothing(spots: Spots, effort: VerificationEffort) -> Verification:
    """Return the verification of no candidates."""
    nothing, confidence = np.zeros(0), None
    if spots.intensity is not None:
        confidence = estimate_confidence([], nothing, len(spots), 0, CALIBRATIONS[effort])
    return Verification(np.zeros(0, dtype=np.int64), (), nothing, 0, confidence)


@dataclass(frozen=True)
class _FittedCandidate:
    """The fit of a candidate from one of its starts."""

    placed: PlacedCandidate
    start: FitStart
    fit: Fit
    score: float
    """ln likelihood of positions and intensities."""

    @property
    def orientation(self) -> FittedOrientation:
        """The fitted orientation."""
        oriented, variant = self.start.candidate, self.start.variant
        return FittedOrientation(
            reciprocal=oriented.diffraction.reciprocal,
            basis=oriented.variants.bases[variant],
            hk=oriented.variants.hk[variant],
            face=self.start.face,
            observed=oriented.observed,
            scale=self.placed.scale,
            position_log_likelihood=self.placed.position_log_likelihood,
        )


@dataclass(frozen=True)
class _Fits:
    """What is known of the candidates whose lattice fits; each dictionary has their indices as keys.

    Attributes:
        grid: ln of likelihood and prior at the best place of the grid, similarity included.
        rough: the same of the best rough fit, for the best of these.
        refined: the best refined fit, for the best of those.
    """

    grid: dict[int, float]
    rough: dict[int, float]
    refined: dict[int, _FittedCandidate]


def _fit_leaders(placed: Sequence[PlacedCandidate], similarity: FloatArray, depth: Depth) -> _Fits:
    """Fit the candidates that are best on the grid roughly, and refine the best of them.

    Each is fitted from every start that is nearly as good as its best.
    """
    best = _find_best_scores((each.index, each.orientation_score + each.starts[0].score) for each in placed)
    grid = {row: score + SIMILARITY_WEIGHT * similarity[row] for row, score in best.items()}
    leaders = sorted(grid, key=lambda row: -grid[row])[: depth.rough_fits]
    started = [
        (each, start)
        for each in placed
        if each.index in leaders
        for start in each.starts
        if start.score >= each.starts[0].score - MAX_START_GAP
    ]
    starts = [start for _, start in started]
    if not any(start.candidate.observed.has_intensity for start in starts):
        fits = [fit_visibility(start) for start in starts]
        return _Fits(grid, {}, _select_best(started, fits))
    rough = fit_roughly(starts)
    candidate = np.array([each.index for each, _ in started])
    bonus = (
        np.array([each.orientation_score for each, _ in started]) + SIMILARITY_WEIGHT * similarity[candidate]
    )
    score = rough.score + bonus
    orientation = [(id(each), start.variant, start.face) for each, start in started]
    kept = _select_optima(candidate, score, orientation, rough.parameters[:, TILT], depth)
    fits = refine(rough.take(kept), bonus[kept])
    return _Fits(
        grid,
        _find_best_scores(zip(candidate.tolist(), score.tolist(), strict=True)),
        _select_best([started[row] for row in kept], fits),
    )


def _fit_remaining(
    rows: Sequence[int], placed: Sequence[PlacedCandidate], placement: LatticePlacement
) -> dict[int, _FittedCandidate]:
    """Fit the candidates of these rows roughly, from one start; those whose lattice does not fit are left out.

    Candidates that are not `placed` already are placed first.
    """
    chosen = [each for each in placed if each.index in rows]
    others = set(rows) - {each.index for each in chosen}
    orientations = placement.orientations
    if others:
        rest = orientations.take(np.isin(orientations.candidate, list(others)))
        chosen += placement.place(rest, start_count=1)
    if not chosen:
        return {}
    started = [(each, each.starts[0]) for each in chosen]
    starts = [start for _, start in started]
    if placement.observed.has_intensity:
        return _select_best(started, evaluate_rough_fits(fit_roughly(starts)))
    return _select_best(started, [fit_visibility(start) for start in starts])


def _rank(similarity: FloatArray, fits: _Fits) -> tuple[IntArray, FloatArray]:
    """Return the ranking (C,) of all candidates, and the scores (C,) of refined ones, -inf for others."""
    # How far each candidate came: 3 refined, 2 fitted roughly, 1 its lattice fits, 0 it does not.
    stage, value = np.zeros(len(similarity), dtype=np.int64), similarity.copy()
    for number, reached in ((1, fits.grid), (2, fits.rough)):
        for row, score in reached.items():
            stage[row], value[row] = number, score
    for row, refined in fits.refined.items():
        stage[row], value[row] = 3, refined.score + SIMILARITY_WEIGHT * similarity[row]
    return np.lexsort((-value, -stage)), np.where(stage == 3, value, -np.inf)


def _describe(fits: dict[int, _FittedCandidate]) -> dict[int, Match]:
    """Return the match of each candidate, by its index."""
    orientations = [each.orientation for each in fits.values()]
    return {
        row: Match.from_fit(each.fit, orientation, each.score)
        for (row, each), orientation in zip(fits.items(), orientations, strict=True)
    }


def _find_best_scores(scores: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Return the highest score of each candidate, given pairs of its index and a score."""
    best: dict[int, float] = {}
    for candidate, score in scores:
        best[candidate] = max(score, best.get(candidate, -np.inf))
    return best


def _select_best(
    started: Sequence[tuple[PlacedCandidate, FitStart]], fits: Sequence[Fit]
) -> dict[int, _FittedCandidate]:
    """Return the best fit of each candidate, by its index."""
    best: dict[int, _FittedCandidate] = {}
    scores = [fit.score for fit in fits]
    for (placed, start), fit, fit_score in zip(started, fits, scores, strict=True):
        score, other = placed.orientation_score + fit_score, best.get(placed.index)
        if other is None or score > other.score:
            best[placed.index] = _FittedCandidate(placed, start, fit, score)
    return best


def _select_optima(
    candidate: IntArray,
    score: FloatArray,
    orientation: Sequence[Hashable],
    tilt: FloatArray,
    depth: Depth,
) -> list[int]:
    """Select the rough fits to refine: of each of the best candidates the best, and others that are nearly as good.

    Args:
        candidate: (J,) index of each fit's candidate.
        score: (J,) of each fit.
        orientation: (J,) equal where two fits may have reached the same optimum.
        tilt: (J, 2) tangents of the tilt.
        depth: how many candidates are refined.
    """
    kept: dict[int, list[int]] = {}
    hopeful = score > score.max() - HOPELESS_GAP
    for row in np.argsort(-score, kind="stable").tolist():
        limit = depth.max_refined if hopeful[row] else depth.min_refined
        if len(kept) >= limit and candidate[row] not in kept:
            continue
        optima = kept.setdefault(int(candidate[row]), [])
        same = [other for other in optima if orientation[other] == orientation[row]]
        is_known = any(np.hypot(*(tilt[row] - tilt[other])) < SAME_OPTIMUM_TANGENT for other in same)
        is_near = not optima or score[row] > score[optima[0]] - MAX_OPTIMUM_GAP
        if len(optima) < MAX_REFINED_OPTIMA and is_near and not is_known:
            optima.append(row)
    return sorted(row for optima in kept.values() for row in optima)
