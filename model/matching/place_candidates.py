"""Place the lattices of candidates on a pattern, and find starting points for the fits of their intensities.

An orientation has a score of its own, the ln of a likelihood: of the spots' positions, and of scale and distortion
under the priors of camera and computed cells. Axes: C candidates, J orientations, N spots, A variants by symmetry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.indexing.orientations import (
    SCALE_TOLERANCE,
    Orientations,
    compute_principal_stretches,
    find_orientations,
)
from model.matching.depth import Depth
from model.matching.fitting.candidate_diffraction import FitStart, OrientedCandidate
from model.matching.fitting.diffraction_cache import get_diffraction
from model.matching.fitting.rough_fit import find_starts
from model.matching.fitting.visibility import find_visible_start
from model.matching.priors import DISTORTION_SIGMA
from model.pattern.observation import Observation
from model.physics.reciprocal import reciprocal_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAX_SCALE_SIGMAS = 3.5
"""Largest deviation of a scale, over its rms error."""
POSITION_SIGMA_RANGE_INV_ANGSTROM = (0.001, 0.006)
FALSE_SPOT_LOG_DENSITY = -3.0
"""ln of the density of false spots, where spots of the lattice are normally distributed about its points."""
SCORE_MARGIN_SHARE, MIN_SCORE_MARGIN = 0.2, 4.0
"""Orientations that meet fewer spots than the best by more than this share of all, or this number, are dropped."""


@dataclass(frozen=True)
class ScalePrior:
    """Prior knowledge of a pattern's scale.

    Attributes:
        sigma: rms error of its logarithm; infinite where nothing is known.
        implied: (C,) measured over computed lengths in reciprocal space that each candidate's lattice implies; None
            where the pattern's own scale is approximately right.
    """

    sigma: float
    implied: FloatArray | None = None

    def scale_candidates(self, count: int) -> FloatArray:
        """Return the scale (C,) of each of C candidates.

        Raises:
            OptionError: scales are implied for another number of candidates.
        """
        if self.implied is None:
            return np.ones(count)
        if len(self.implied) != count:
            raise OptionError(f"Got {len(self.implied)} scales for {count} crystals; give one for each.")
        return self.implied


@dataclass(frozen=True)
class PlacedCandidate:
    """A candidate in one orientation, with the starting points of its fits.

    Attributes:
        index: of the candidate.
        oriented: what is fitted, in the scale of the candidate.
        scale: factor by which the pattern's lengths were divided for that.
        position_log_likelihood: (N,) of the spots' positions.
        orientation_score: ln of likelihood and prior of the orientation.
        starts: where its fits begin, best first.
    """

    index: int
    oriented: OrientedCandidate
    scale: float
    position_log_likelihood: FloatArray
    orientation_score: float
    starts: list[FitStart]


@dataclass(frozen=True)
class LatticePlacement:
    """A pattern with the lattices of all candidates placed on it.

    Attributes:
        crystals: the C candidates.
        reciprocal: (C, 2, 2) rows a* and b* of each, 1/angstrom.
        scales: (C,) the pattern's lengths over each one's, before the fit.
        scale_sigma: (C,) rms error of ln of that.
        observed: the pattern.
        orientations: of the lattices that can be the pattern's, in the units of the pattern.
    """

    crystals: Sequence[Crystal]
    reciprocal: FloatArray
    scales: FloatArray
    scale_sigma: FloatArray
    observed: Observation
    orientations: Orientations

    @classmethod
    def find(
        cls, crystals: Sequence[Crystal], scales: FloatArray, scale_sigma: FloatArray, observed: Observation
    ) -> Self:
        """Place the lattices of at least one candidate."""
        lattices = np.stack([crystal.lattice for crystal in crystals])
        # Lattices are divided by the scale, so that orientations are in the units of the pattern.
        orientations = find_orientations(lattices / scales[:, None, None], observed)
        reciprocal = reciprocal_lattice(lattices)
        candidate = orientations.candidate
        likely = _has_likely_scale(reciprocal[candidate], orientations.basis, scale_sigma[candidate])
        return cls(crystals, reciprocal, scales, scale_sigma, observed, orientations.take(likely))

    def select(self, similarity: FloatArray, depth: Depth) -> tuple[Orientations, int]:
        """Select the candidates whose diffraction is computed: those whose lattice fits well, most similar first.

        Returns:
            the orientations of the selected candidates, and the number of candidates whose lattice fits that are
            similar enough to be computed, which may exceed what the depth allows.
        """
        orientations = self.orientations
        if not len(orientations.candidate):
            return orientations, 0
        margin = max(MIN_SCORE_MARGIN, SCORE_MARGIN_SHARE * len(self.observed.q_inv_angstrom))
        orientations = orientations.take(orientations.score > orientations.score.max() - margin)
        fitting = np.unique(orientations.candidate)
        by_similarity = fitting[np.argsort(-similarity[fitting], kind="stable")]
        lowest = similarity[by_similarity[0]] - depth.max_similarity_gap
        similar_count = int((similarity[fitting] >= lowest).sum())
        selected = by_similarity[: min(max(similar_count, depth.min_computed), depth.max_computed)]
        return orientations.take(np.isin(orientations.candidate, selected)), similar_count

    def place(self, orientations: Orientations, start_count: int) -> list[PlacedCandidate]:
        """Place candidates in some of the orientations, and find a limited number of starts for each."""
        candidate, on_lattice = orientations.candidate, orientations.on_lattice
        stretches = compute_principal_stretches(self.reciprocal[candidate], orientations.basis)
        positions = _compute_position_likelihood(orientations.distance, on_lattice)
        prior = _compute_stretch_prior(stretches, self.scale_sigma[candidate])
        rows, oriented = self._orient_candidates(orientations, on_lattice)
        if self.observed.has_intensity:
            starts = find_starts(oriented, start_count)
        else:
            starts = [[find_visible_start(each)] for each in oriented]
        return [
            PlacedCandidate(
                index=int(candidate[row]),
                oriented=each,
                scale=float(self.scales[candidate[row]]),
                position_log_likelihood=positions[row],
                orientation_score=float(positions[row].sum()) + float(prior[row]),
                starts=starts_of_each,
            )
            for row, each, starts_of_each in zip(rows, oriented, starts, strict=True)
        ]

    def _orient_candidates(
        self, orientations: Orientations, on_lattice: BoolArray
    ) -> tuple[list[int], list[OrientedCandidate]]:
        """Return the rows of the orientations whose candidates have reflections, and these candidates."""
        rows: list[int] = []
        oriented: list[OrientedCandidate] = []
        for row, index in enumerate(orientations.candidate.tolist()):
            scale = float(self.scales[index])
            observed = self.observed if scale == 1.0 else self.observed.rescale(1 / scale)
            diffraction = get_diffraction(self.crystals[index], observed)
            if len(diffraction.hk):  # a pattern of few spots may end before the first reflection
                basis, hk = orientations.basis[row] / scale, orientations.hk[row]
                variants = diffraction.find_variants(basis, hk, distinct=observed.has_intensity)
                rows.append(row)
                oriented.append(OrientedCandidate(diffraction, observed, on_lattice[row], variants))
        return rows, oriented


def compute_scale_tolerance(scale_sigma: float) -> float:
    """Return the largest deviation of ln of a scale from its expectation, given its rms error."""
    return min(SCALE_TOLERANCE, MAX_SCALE_SIGMAS * scale_sigma)


def _has_likely_scale(reciprocal: FloatArray, seen: FloatArray, scale_sigma: FloatArray) -> BoolArray:
    """Return which bases (J, 2, 2) of crystals and pattern differ by a likely scale, given its rms error (J,)."""
    scale = np.log(np.abs(np.linalg.det(seen) / np.linalg.det(reciprocal))) / 2
    return np.asarray(np.abs(scale) < MAX_SCALE_SIGMAS * scale_sigma)


def _compute_position_likelihood(distance: FloatArray, on_lattice: BoolArray) -> FloatArray:
    """Return the ln likelihood of each spot's position, (J, N), with the spread that the pattern shows."""
    square = distance**2
    # In the plane, the median of a squared distance is 1.386 times the variance along each axis.
    lowest, highest = POSITION_SIGMA_RANGE_INV_ANGSTROM
    spread = np.sqrt(np.median(square[on_lattice]) / 1.386) if on_lattice.any() else highest
    variance = np.clip(spread, lowest, highest) ** 2
    density = -square / (2 * variance) - np.log(2 * pi * variance)
    return np.where(on_lattice, density, FALSE_SPOT_LOG_DENSITY)


def _compute_stretch_prior(stretches: FloatArray, scale_sigma: FloatArray) -> FloatArray:
    """Return the ln prior (J,) of scale and distortion, given the principal stretches (J, 2)."""
    scale, distortion = np.log(stretches).mean(axis=1), np.log(stretches[:, 0] / stretches[:, 1])
    prior: FloatArray = -((scale / scale_sigma) ** 2 + (distortion / DISTORTION_SIGMA) ** 2) / 2
    return prior
