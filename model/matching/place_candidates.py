"""The lattices of candidates laid on a pattern, and where fits of their intensities begin.

What a setting of a lattice is worth by itself is the ln of a likelihood: of the spots' positions, and of scale and
distortion, with what is known of cameras and computed lattices as prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.indexing.orientations import (
    SCALE_TOLERANCE,
    Orientations,
    apply_symmetries,
    compute_principal_stretches,
    find_orientations,
)
from model.matching.depth import Depth
from model.matching.fitting.candidate_diffraction import Layer, layer_of
from model.matching.fitting.rough_fit import Start
from model.matching.fitting.starting_points import Seed, seeds
from model.matching.fitting.visibility import best_seen
from model.pattern.observation import Observation
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
LATTICE_MARGIN = 0.2


@dataclass(frozen=True)
class Placed:
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

    def begun(self, seed: Seed) -> Start:
        """A fit that begins at one of the starts."""
        hk, basis = self.hk[seed.setting], self.bases[seed.setting]
        return Start(self.layer, self.observed, self.met, hk, basis, seed)


@dataclass(frozen=True)
class Ground:
    """A pattern with the lattices of all candidates laid on it.

    Attributes:
        crystals: the C candidates.
        reciprocal: (C, 2, 2) rows a* and b* of each.
        scales: (C,) of the pattern's lengths over each one's, before the fit.
        sigma: (C,) rms error of the logarithm of that.
        observed: the pattern.
        settings: of the lattices that can be the pattern's, in the pattern's own units.
    """

    crystals: Sequence[Crystal]
    reciprocal: FloatArray
    scales: FloatArray
    sigma: FloatArray
    observed: Observation
    settings: Orientations

    @classmethod
    def of(
        cls, crystals: Sequence[Crystal], scales: FloatArray, sigma: FloatArray, observed: Observation
    ) -> Self:
        """Lay the lattices of at least one candidate."""
        lattices = np.stack([crystal.lattice for crystal in crystals])
        # Lattices as the camera would see them: what follows is in the pattern's own units.
        settings = find_orientations(lattices / scales[:, None, None], observed)
        own = reciprocal_lattice(lattices)
        likely = _of_likely_scale(own[settings.candidate], settings.basis, sigma[settings.candidate])
        return cls(crystals, own, scales, sigma, observed, settings.take(likely))

    def chosen(self, similarity: FloatArray, depth: Depth) -> tuple[Orientations, int]:
        """The settings that meet nearly as many spots as the best, of as many candidates as are computed; and how many
        are nearly as similar as the most similar of those that have such settings."""
        settings = self.settings
        if not len(settings):
            return settings, 0
        fewest = settings.score.max() - max(4.0, LATTICE_MARGIN * len(self.observed))
        settings = settings.take(settings.score > fewest)
        fitting = np.unique(settings.candidate)
        by_similarity = fitting[np.argsort(-similarity[fitting], kind="stable")]
        alike = int((similarity[fitting] >= similarity[by_similarity[0]] - depth.less_similar).sum())
        nearest = by_similarity[: min(max(alike, depth.fewest_layers), depth.layers)]
        return settings.take(np.isin(settings.candidate, nearest)), alike

    def placed(self, settings: Orientations, starts: int) -> list[Placed]:
        """What is computed in some of the settings, so many starts of each."""
        positions = _position_likelihood(settings)
        own, sigma = self.reciprocal[settings.candidate], self.sigma[settings.candidate]
        prior = _stretch_prior(own, settings.basis, sigma)
        met = settings.on_lattice
        placed: list[Placed] = []
        for row, candidate in enumerate(settings.candidate.tolist()):
            scale = float(self.scales[candidate])
            observed = self.observed.rescale(1 / scale)
            layer = layer_of(self.crystals[candidate], observed)
            if not len(layer.hk):  # its lattice is too fine for a pattern of so few spots
                continue
            changes = layer.distinct_changes if observed.has_intensity else layer.changes
            bases, hk = apply_symmetries(settings.basis[row] / scale, settings.hk[row], changes)
            begin = layer, observed, hk, met[row]
            begun = seeds(*begin, starts) if observed.has_intensity else [best_seen(*begin, bases)]
            placed.append(
                Placed(
                    candidate,
                    layer,
                    observed,
                    scale,
                    bases,
                    hk,
                    met[row],
                    positions[row],
                    float(prior[row]),
                    begun,
                )
            )
        return placed


def _position_likelihood(settings: Orientations) -> FloatArray:
    """(J, N) ln likelihood of each spot's position."""
    met, square = settings.on_lattice, settings.distance**2
    # The median of the square of a distance in the plane is 1.386 times the variance along each axis.
    spread = np.sqrt(np.median(square[met]) / 1.386) if met.any() else SPREAD_RANGE_INV_ANGSTROM[1]
    variance = np.clip(spread, *SPREAD_RANGE_INV_ANGSTROM) ** 2
    density = -square / (2 * variance) - np.log(2 * pi * variance)
    return np.where(met, density, FALSE_SPOT)


def compute_scale_tolerance(sigma: float) -> float:
    """How far the logarithm of a scale may be off at most, given its rms error."""
    return min(SCALE_TOLERANCE, FARTHEST_SCALE * sigma)


def _of_likely_scale(own: FloatArray, seen: FloatArray, scale_sigma: FloatArray) -> BoolArray:
    """(J,) whether own and seen bases (J, 2, 2) differ by no more of scale than can be."""
    scale = np.log(np.abs(np.linalg.det(seen) / np.linalg.det(own))) / 2
    return np.asarray(np.abs(scale) < FARTHEST_SCALE * scale_sigma)


def _stretch_prior(own: FloatArray, seen: FloatArray, scale_sigma: FloatArray) -> FloatArray:
    """(J,) ln prior of scale and distortion between own and seen bases (J, 2, 2)."""
    axes = compute_principal_stretches(own, seen)
    scale, distortion = np.log(axes).mean(axis=1), np.log(axes[:, 0] / axes[:, 1])
    prior: FloatArray = -((scale / scale_sigma) ** 2 + (distortion / DISTORTION_SIGMA) ** 2) / 2
    return prior
