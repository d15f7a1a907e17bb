"""Candidates of a search held against the pattern itself: which of them explain it, and how well.

The score of a candidate is the logarithm of a likelihood: of the spots' positions given its lattice (scale and
distortion fitted, with what is known of cameras and computed lattices as prior), of their intensities given its
atoms (tilt, scale and thermal motion fitted), and of the beams that were not seen.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import pi
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.matching.beams import Beams
from model.matching.confidence import CALIBRATIONS, Confidence, confidence
from model.matching.depth import Depth, Effort, depth_of
from model.matching.fit import Fit, fitted
from model.matching.layer import Layer, layer_of
from model.matching.match import Match
from model.matching.observation import Observation
from model.matching.priors import CELL_SIGMA
from model.matching.seeds import Seed, seeds
from model.matching.settings import (
    SCALE_TOLERANCE,
    Settings,
    lay_lattices,
    principal_stretches,
    variants,
)
from model.matching.trials import TILT, Start, Trials
from model.matching.visibility import best_seen, seen_or_not
from model.pattern.spots import Spots
from model.physics.reciprocal import reciprocal_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Of the logarithm of the ratio of the axes.
DISTORTION_SIGMA = 0.006
# No scale is off by more, over its rms error.
FARTHEST_SCALE = 3.5
SPREAD_RANGE_INV_ANGSTROM = (0.001, 0.006)
# ln of the density of false spots in plane and intensity, where that of the spots of a lattice is normal about it.
FALSE_SPOT = -3.0
# A similarity higher by 0.025 is worth one unit of ln likelihood.
SIMILARITY_WEIGHT = 40.0
LATTICE_MARGIN = 0.2
START_MARGIN = 10.0
# Of one candidate's settings that fit nearly as well so many are fitted with shifted atoms, each optimum once.
FITS_OF_EACH, FIT_MARGIN, SAME_OPTIMUM_TANGENT = 2, 3.0, 0.01
# Candidates whose rough fits are worse than the best by more are refined only to make up the fewest.
HOPELESS = 25.0


@dataclass(frozen=True)
class Scale:
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
        matches: of each candidate how it matches, None where it was not refined.
        values: (C,) what refined candidates are ranked by, ln likelihood and similarity together; -inf of the others.
        alike: how many candidates were to be computed by their similarity, though there may not be time for all.
        confidence: how sure that is; None without intensities, for which it was not calibrated.
    """

    ranking: IntArray
    matches: tuple[Match | None, ...]
    values: FloatArray
    alike: int
    confidence: Confidence | None


def verify(
    crystals: Sequence[Crystal],
    similarity: Sequence[float],
    spots: Spots,
    voltage_kv: float,
    effort: Effort = "verify",
    scale: Scale | None = None,
    cell_sigma: FloatArray | float = CELL_SIGMA,
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

    Raises:
        OptionError: another number of similarities, or of scales, than of crystals.
        NoSpotsError: no spots within the models' range.
    """
    if len(similarity) != len(crystals):
        raise OptionError(f"{len(similarity)} similarities for {len(crystals)} crystals; give one each")
    scale = scale or Scale(spots.scale_sigma)
    scales, sigma = scale.of(len(crystals)), np.hypot(scale.sigma, np.broadcast_to(cell_sigma, len(crystals)))
    near = np.asarray(similarity, dtype=np.float64)
    # Each candidate's class (3 refined, 2 fitted roughly, 1 its lattice fits, 0 none) and its value within the class.
    rank, value = np.zeros(len(near), dtype=np.int64), near.copy()
    matches: list[Match | None] = [None] * len(crystals)
    depth = depth_of(effort, spots)
    alike = 0
    if len(near):
        observed = Observation.of(spots, voltage_kv)
        placed, alike = _placed(crystals, near, scales, sigma, observed, depth)
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
    sure = None
    if spots.intensity is not None:
        sure = confidence(matches, values, len(spots), alike, CALIBRATIONS[effort])
    return Verification(np.lexsort((-value, -rank)), tuple(matches), values, alike, sure)


@dataclass(frozen=True)
class _Placed:
    """A candidate in one setting of its lattice, with all settings (A) that symmetry makes of it.

    Attributes:
        candidate: its index.
        layer: its beams.
        observed: the pattern in the candidate's scale.
        scale: by which its lengths were divided for that.
        bases: (A, 2, 2) of the settings, in that scale.
        hk: (A, N, 2) indices of the spots in each.
        met: (N,) spots that lie on the lattice.
        positions: (N,) ln likelihood of the spots' positions.
        log_prior: ln prior of scale and distortion.
        starts: where its fits begin, best first.
    """

    candidate: int
    layer: Layer
    observed: Observation
    scale: float
    bases: FloatArray
    hk: IntArray
    met: BoolArray
    positions: FloatArray
    log_prior: float
    starts: list[Seed]

    @property
    def geometry(self) -> float:
        """ln of likelihood and prior of the lattice's setting."""
        return float(self.positions.sum()) + self.log_prior

    @property
    def promise(self) -> float:
        """Score of the best start."""
        return self.geometry + self.starts[0].score


@dataclass(frozen=True)
class _Refined:
    """The fit from one of the starts."""

    placed: _Placed
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
        beams = Beams.of(
            crystal, self.fit, placed.hk[setting], basis, placed.positions, observed, placed.scale
        )
        return Match.of(crystal, basis, self.start.face, self.fit, self.score, beams, observed, placed.scale)


def _placed(
    crystals: Sequence[Crystal],
    similarity: FloatArray,
    scales: FloatArray,
    sigma: FloatArray,
    observed: Observation,
    depth: Depth,
) -> tuple[list[_Placed], int]:
    """The settings of the lattices that meet nearly as many spots as the best, of as many candidates as are computed;
    and how many are nearly as similar as the most similar of those whose lattice does."""
    lattices = np.stack([crystal.lattice for crystal in crystals])
    own = reciprocal_lattice(lattices)
    # Lattices as the camera would see them: what follows is in the pattern's own units.
    settings = lay_lattices(lattices / scales[:, None, None], observed)
    settings = settings.take(
        _of_likely_scale(own[settings.candidate], settings.basis, sigma[settings.candidate])
    )
    if not len(settings):
        return [], 0
    settings = settings.take(settings.score > settings.score.max() - max(4.0, LATTICE_MARGIN * len(observed)))
    fitting = np.unique(settings.candidate)
    by_similarity = fitting[np.argsort(-similarity[fitting], kind="stable")]
    alike = int((similarity[fitting] >= similarity[by_similarity[0]] - depth.less_similar).sum())
    nearest = by_similarity[: min(max(alike, depth.fewest_layers), depth.layers)]
    settings = settings.take(np.isin(settings.candidate, nearest))
    positions = _position_likelihood(settings)
    prior = _stretch_prior(own[settings.candidate], settings.basis, sigma[settings.candidate])
    met = settings.met
    placed: list[_Placed] = []
    for row, candidate in enumerate(settings.candidate.tolist()):
        scale = float(scales[candidate])
        rescaled = observed.rescaled(1 / scale)
        layer = layer_of(crystals[candidate], rescaled)
        if not len(layer.hk):  # its lattice is too fine for a pattern of so few spots
            continue
        changes = layer.distinct_changes if observed.has_intensity else layer.changes
        bases, hk = variants(settings.basis[row] / scale, settings.hk[row], changes)
        begin = layer, rescaled, hk, met[row]
        starts = seeds(*begin, depth.starts) if observed.has_intensity else [best_seen(*begin, bases)]
        placed.append(
            _Placed(
                candidate,
                layer,
                rescaled,
                scale,
                bases,
                hk,
                met[row],
                positions[row],
                float(prior[row]),
                starts,
            )
        )
    return placed, alike


def _position_likelihood(settings: Settings) -> FloatArray:
    """(J, N) ln likelihood of each spot's position."""
    met, square = settings.met, settings.distance**2
    # The median of the square of a distance in the plane is 1.386 times the variance along each axis.
    spread = np.sqrt(np.median(square[met]) / 1.386) if met.any() else SPREAD_RANGE_INV_ANGSTROM[1]
    variance = np.clip(spread, *SPREAD_RANGE_INV_ANGSTROM) ** 2
    density = -square / (2 * variance) - np.log(2 * pi * variance)
    return np.where(met, density, FALSE_SPOT)


def scale_tolerance(sigma: float) -> float:
    """How far the logarithm of a scale may be off at most, given its rms error."""
    return min(SCALE_TOLERANCE, FARTHEST_SCALE * sigma)


def _of_likely_scale(own: FloatArray, seen: FloatArray, scale_sigma: FloatArray) -> BoolArray:
    """(J,) whether own and seen bases (J, 2, 2) differ by no more of scale than can be."""
    scale = np.log(np.abs(np.linalg.det(seen) / np.linalg.det(own))) / 2
    return np.asarray(np.abs(scale) < FARTHEST_SCALE * scale_sigma)


def _stretch_prior(own: FloatArray, seen: FloatArray, scale_sigma: FloatArray) -> FloatArray:
    """(J,) ln prior of scale and distortion between own and seen bases (J, 2, 2)."""
    axes = principal_stretches(own, seen)
    scale, distortion = np.log(axes).mean(axis=1), np.log(axes[:, 0] / axes[:, 1])
    prior: FloatArray = -((scale / scale_sigma) ** 2 + (distortion / DISTORTION_SIGMA) ** 2) / 2
    return prior


@dataclass(frozen=True)
class _Tried:
    """What came of the candidates that promised most.

    Attributes:
        rough: of each, by its index, the score of its best rough fit, similarity included.
        refined: of the best of them the best fit with shifted atoms.
    """

    rough: dict[int, float]
    refined: dict[int, _Refined]

    @classmethod
    def of(cls, placed: Sequence[_Placed], similarity: FloatArray, depth: Depth) -> Self:
        """Fit those that are placed, and the best candidates thoroughly, from each start that is nearly as good as the
        best of its candidate's."""
        begun = [
            (each, seed)
            for each in placed
            for seed in each.starts
            if seed.score >= each.starts[0].score - START_MARGIN
        ]
        starts = [
            Start(each.layer, each.observed, each.met, each.hk[seed.setting], each.bases[seed.setting], seed)
            for each, seed in begun
        ]
        if not any(start.observed.has_intensity for start in starts):
            fits = [seen_or_not(start) for start in starts]
            return cls({}, _best([_Refined(*own, fit) for own, fit in zip(begun, fits, strict=True)]))
        trials = Trials.of(starts)
        known, score = trials.roughly()
        candidate = np.array([each.candidate for each, _ in begun])
        favour = np.array([each.geometry for each, _ in begun]) + SIMILARITY_WEIGHT * similarity[candidate]
        score = score + favour
        optimum = [(id(each), seed.setting, seed.face) for each, seed in begun]
        kept = _best_of_each(candidate, score, optimum, known[:, TILT], depth)
        fits = fitted(trials.take(kept), known[kept], favour[kept])
        rough = _highest(zip(candidate.tolist(), score.tolist(), strict=True))
        return cls(rough, _best([_Refined(*begun[row], fit) for row, fit in zip(kept, fits, strict=True)]))


def _highest(scores: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Score of each candidate."""
    highest: dict[int, float] = {}
    for candidate, score in scores:
        highest[candidate] = max(score, highest.get(candidate, -np.inf))
    return highest


def _best(fits: Sequence[_Refined]) -> dict[int, _Refined]:
    """Of each candidate."""
    best: dict[int, _Refined] = {}
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
