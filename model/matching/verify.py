"""Candidates of a search held against the pattern itself: which of them explain it, and how well.

The score of a candidate is the logarithm of a likelihood: of the spots' positions given its lattice (scale and
distortion fitted, with what is known of cameras and computed lattices as prior), of their intensities given its
atoms (tilt, scale and thermal motion fitted), and of the beams that were not seen.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.matching.confidence import CALIBRATIONS, Confidence, estimate_confidence
from model.matching.depth import Depth, Effort, choose_depth
from model.matching.fitting.priors import CELL_SIGMA
from model.matching.fitting.refinement import Fit, fitted, fitted_still
from model.matching.fitting.rough_fit import TILT, Trials
from model.matching.fitting.starting_points import Seed
from model.matching.fitting.visibility import seen_or_not
from model.matching.match import Match, ReflectionTable
from model.matching.place_candidates import Ground, Placed
from model.pattern.observation import Observation
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# A similarity higher by 0.025 is worth one unit of ln likelihood.
SIMILARITY_WEIGHT = 40.0
START_MARGIN = 10.0
# Of one candidate's settings that fit nearly as well so many are fitted with shifted atoms, each optimum once.
FITS_OF_EACH, FIT_MARGIN, SAME_OPTIMUM_TANGENT = 2, 3.0, 0.01
# Candidates whose rough fits are worse than the best by more are refined only to make up the fewest.
HOPELESS = 25.0


@dataclass(frozen=True)
class ScalePrior:
    """What is known of a pattern's scale before it is compared.

    Attributes:
        sigma: rms error of its logarithm; infinite where nothing is known.
        implied: (C,) measured over computed lengths that each candidate's lattice implies, in reciprocal space; None
            where the pattern's own scale is roughly right.
    """

    sigma: float
    implied: FloatArray | None = None

    def of(self, count: int) -> FloatArray:
        """(C,) the scale of each of so many candidates.

        Raises:
            OptionError: another number of them is implied.
        """
        if self.implied is None:
            return np.ones(count)
        if len(self.implied) != count:
            raise OptionError(f"{len(self.implied)} scales for {count} crystals; give one each")
        return self.implied


@dataclass(frozen=True)
class Verification:
    """What became of C candidates.

    Attributes:
        ranking: (C,) their indices, best first: those refined by score and similarity, then those fitted roughly,
            those whose lattice fits by how promising they are, and the others by similarity.
        matches: of each candidate how it matches: of those refined, and of the first of the ranking (`Depth.matched`)
            a rough match, with the atoms where the library has them; None of others, and where no lattice was laid.
        scores: (C,) what refined candidates are ranked by, ln likelihood and similarity together; -inf of the others.
        similar_count: how many candidates should be computed by their similarity, though time may not suffice.
        confidence: how sure that is; None without intensities, for which it was not calibrated.
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
    effort: Effort = "verify",
    scale: ScalePrior | None = None,
    cell_sigma: FloatArray | float = CELL_SIGMA,
    wanted: int = 0,
) -> Verification:
    """Hold candidates against a pattern.

    Args:
        crystals: the candidates.
        similarity: of each, by the towers; it decides which are looked at more closely.
        spots: the pattern.
        voltage_kv: accelerating voltage.
        effort: how many are computed and refined.
        scale: what is known of the pattern's, where not what the spots state.
        cell_sigma: (C,) rms error of the logarithm of each candidate's lengths, or that of all.
        wanted: so many of the ranking will be told; as far as there is time each of them has a match.

    Raises:
        OptionError: another number of similarities, or of scales, than of crystals.
        NoSpotsError: no spots within the models' range.
    """
    if len(similarity) != len(crystals):
        raise OptionError(f"{len(similarity)} similarities for {len(crystals)} crystals; give one each")
    scale = scale or ScalePrior(spots.scale_sigma)
    scales, sigma = scale.of(len(crystals)), np.hypot(scale.sigma, np.broadcast_to(cell_sigma, len(crystals)))
    near = np.asarray(similarity, dtype=np.float64)
    # Each candidate's class (3 refined, 2 fitted roughly, 1 its lattice fits, 0 none) and its value within the class.
    rank, value = np.zeros(len(near), dtype=np.int64), near.copy()
    matches: list[Match | None] = [None] * len(crystals)
    depth = choose_depth(effort, spots)
    alike, ground = 0, None
    placed: list[Placed] = []
    if len(near):
        ground = Ground.of(crystals, scales, sigma, Observation.from_spots(spots, voltage_kv))
        chosen, alike = ground.chosen(near, depth)
        placed = ground.placed(chosen, depth.starts)
        promise = _highest((each.candidate, each.promise) for each in placed)
        for row, best in promise.items():
            rank[row], value[row] = 1, best + SIMILARITY_WEIGHT * near[row]
        leaders = sorted(promise, key=lambda row: -value[row])[: depth.trials]
        tried = _Tried.of([each for each in placed if each.candidate in leaders], near, depth)
        for row, best in tried.rough.items():
            rank[row], value[row] = 2, best
        for row, refined in tried.refined.items():
            matches[row], rank[row] = refined.match(crystals[row]), 3
            value[row] = refined.score + SIMILARITY_WEIGHT * near[row]
    values = np.where(rank == 3, value, -np.inf)
    ranking = np.lexsort((-value, -rank))
    sure = None
    if spots.intensity is not None:
        sure = estimate_confidence(matches, values, len(spots), alike, CALIBRATIONS[effort])
    # After the confidence, which knows the refined by their having a match.
    if ground is not None:
        told = ranking[: min(wanted, depth.matched)].tolist()
        unmatched = [row for row in told if matches[row] is None]
        for row, roughly in _rough_matches(unmatched, placed, ground).items():
            matches[row] = replace(roughly.match(crystals[row]), refined=False)
    return Verification(ranking, tuple(matches), values, alike, sure)


@dataclass(frozen=True)
class _Fitted:
    """The fit from one of the starts."""

    placed: Placed
    start: Seed
    fit: Fit

    @property
    def score(self) -> float:
        """ln likelihood of positions and intensities."""
        return self.placed.geometry + self.fit.score

    def match(self, crystal: Crystal) -> Match:
        """In a crystallographer's terms."""
        placed, setting = self.placed, self.start.setting
        basis, observed = placed.bases[setting], placed.observed
        beams = ReflectionTable.of(
            crystal, self.fit, placed.hk[setting], basis, placed.positions, observed, placed.scale
        )
        return Match.of(crystal, basis, self.start.face, self.fit, self.score, beams, observed, placed.scale)


@dataclass(frozen=True)
class _Tried:
    """What came of the candidates that promised most.

    Attributes:
        rough: of each, by its index, the score of its best rough fit, similarity included.
        refined: of the best of them the best fit with shifted atoms.
    """

    rough: dict[int, float]
    refined: dict[int, _Fitted]

    @classmethod
    def of(cls, placed: Sequence[Placed], similarity: FloatArray, depth: Depth) -> Self:
        """Fit those that are placed, and the best candidates thoroughly, from each start that is nearly as good as the
        best of its candidate's."""
        begun = [
            (each, seed)
            for each in placed
            for seed in each.starts
            if seed.score >= each.starts[0].score - START_MARGIN
        ]
        starts = [each.begun(seed) for each, seed in begun]
        if not any(start.observed.has_intensity for start in starts):
            fits = [seen_or_not(start) for start in starts]
            return cls({}, _best([_Fitted(*own, fit) for own, fit in zip(begun, fits, strict=True)]))
        trials = Trials.of(starts)
        known, score = trials.roughly()
        candidate = np.array([each.candidate for each, _ in begun])
        favour = np.array([each.geometry for each, _ in begun]) + SIMILARITY_WEIGHT * similarity[candidate]
        score = score + favour
        optimum = [(id(each), seed.setting, seed.face) for each, seed in begun]
        kept = _best_of_each(candidate, score, optimum, known[:, TILT], depth)
        fits = fitted(trials.take(kept), known[kept], favour[kept])
        rough = _highest(zip(candidate.tolist(), score.tolist(), strict=True))
        return cls(rough, _best([_Fitted(*begun[row], fit) for row, fit in zip(kept, fits, strict=True)]))


def _rough_matches(rows: Sequence[int], placed: Sequence[Placed], ground: Ground) -> dict[int, _Fitted]:
    """The best rough fit of each of some candidates, of which not all are placed yet, nor all have a setting."""
    own = [each for each in placed if each.candidate in rows]
    others = set(rows) - {each.candidate for each in own}
    laid = ground.settings
    if others:
        own += ground.placed(laid.take(np.isin(laid.candidate, list(others))), starts=1)
    if not own:
        return {}
    starts = [each.begun(each.starts[0]) for each in own]
    if not ground.observed.has_intensity:
        fits = [seen_or_not(start) for start in starts]
    else:
        trials = Trials.of(starts)
        fits = fitted_still(trials, trials.roughly()[0])
    return _best([_Fitted(each, each.starts[0], fit) for each, fit in zip(own, fits, strict=True)])


def _highest(scores: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Score of each candidate."""
    highest: dict[int, float] = {}
    for candidate, score in scores:
        highest[candidate] = max(score, highest.get(candidate, -np.inf))
    return highest


def _best(fits: Sequence[_Fitted]) -> dict[int, _Fitted]:
    """Of each candidate."""
    best: dict[int, _Fitted] = {}
    for each in fits:
        candidate = each.placed.candidate
        if candidate not in best or each.score > best[candidate].score:
            best[candidate] = each
    return best


def _best_of_each(
    candidate: IntArray,
    score: FloatArray,
    setting: Sequence[Hashable],
    tilt: FloatArray,
    depth: Depth,
) -> list[int]:
    """The fits with the highest scores of each of the best candidates, several if they are nearly alike.

    Args:
        candidate: (J,) of each fit.
        score: (J,) of each.
        setting: (J,) what has to be the same where two fits have reached one optimum.
        tilt: (J, 2) tangents, by which they have.
        depth: how many candidates are wanted.
    """
    kept: dict[int, list[int]] = {}
    hopeful = score > score.max() - HOPELESS
    for row in np.argsort(-score, kind="stable").tolist():
        enough = depth.fits if hopeful[row] else depth.fewest_fits
        if len(kept) >= enough and candidate[row] not in kept:
            continue
        own = kept.setdefault(int(candidate[row]), [])
        alike = [each for each in own if setting[each] == setting[row]]
        reached = any(np.hypot(*(tilt[row] - tilt[each])) < SAME_OPTIMUM_TANGENT for each in alike)
        near = not own or score[row] > score[own[0]] - FIT_MARGIN
        if len(own) < FITS_OF_EACH and near and not reached:
            own.append(row)
    return sorted(row for own in kept.values() for row in own)
