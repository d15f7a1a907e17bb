"""Find how a crystal's lattice can lie on the spots: rotation, mirror, scale and a small distortion.

Axes: C candidates, J orientations, N spots, U changes of basis.
"""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.indexing.lattice_table import DISTORTION_TOLERANCE
from model.pattern.observation import Observation
from model.physics.reciprocal import (
    compute_determinants,
    find_nearest_points,
    invert_matrices,
    reciprocal_lattice,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SCALE_TOLERANCE = 0.045
"""Largest deviation of a scale from 1: cameras are calibrated to 3 %, computed cells accurate to 1.5 %."""
EXACT_TOLERANCE = 0.002
"""Lattices that deviate less from a mirror symmetry are not tried mirrored: that gives the same orientations."""
FIRST_REACH_INV_ANGSTROM, LAST_REACH_INV_ANGSTROM = 0.025, 0.013
"""Distance within which a spot lies on the lattice.

It is larger at first, as the error of an anchor grows toward the rim; a refined lattice leaves the errors of the spots.
"""
MAX_ANCHORS, MIN_ANCHOR_DISTANCE_INV_ANGSTROM = 3, 0.05
FIRST_SPOTS, MORE_SPOTS = 16, 50
"""Numbers of the strongest spots that orientations are found and refined with."""
REFINEMENTS = ((FIRST_REACH_INV_ANGSTROM, FIRST_SPOTS), (0.018, MORE_SPOTS))
MAX_REFINED, MAX_ORIENTATIONS = 5, 3
"""Orientations of each candidate that are refined, and that are returned."""


@dataclass(frozen=True)
class Orientations:
    """J orientations of the lattices of several candidates on one pattern.

    Attributes:
        candidate: (J,) index of the candidate, ascending.
        basis: (J, 2, 2) rows a* and b* as the camera shows them, 1/angstrom.
        hk: (J, N, 2) indices of the reflection nearest to each spot.
        distance: (J, N) from it, 1/angstrom; infinite where it is the origin.
        score: (J,) number of spots on the lattice, less those that a lattice of this density would meet by chance.
    """

    candidate: IntArray
    basis: FloatArray
    hk: IntArray
    distance: FloatArray
    score: FloatArray

    @classmethod
    def from_bases(cls, candidate: IntArray, basis: FloatArray, q: FloatArray, reach: float) -> Self:
        """Index spots (N, 2) by the basis (J, 2, 2) of each orientation, all in 1/angstrom."""
        hk, square = find_nearest_points(basis, q)
        distance = np.sqrt(square)
        chance = np.minimum(np.pi * reach**2 / np.abs(compute_determinants(basis)), 0.9)
        score = (distance < reach).sum(axis=1) - len(q) * chance
        return cls(candidate, basis, hk.astype(np.int64), distance, score)

    def __len__(self) -> int:
        return len(self.candidate)

    @property
    def on_lattice(self) -> BoolArray:
        """(J, N) spots that lie on the lattice; the origin is not one of its points."""
        return self.distance < LAST_REACH_INV_ANGSTROM

    def take(self, rows: IntArray | BoolArray) -> "Orientations":
        """Return the orientations at these rows."""
        return Orientations(
            self.candidate[rows], self.basis[rows], self.hk[rows], self.distance[rows], self.score[rows]
        )


def find_orientations(lattices: FloatArray, observed: Observation) -> Orientations:
    """Find the orientations in which each lattice meets the most spots, at most `MAX_ORIENTATIONS` of each.

    Some of the strongest spots, the anchors, are assigned to every reflection of similar |q| in turn, which fixes
    rotation and scale. The best of these orientations are refined with all spots that they meet. Of orientations that
    the symmetry of the lattice joins, one is returned; `find_lattice_symmetries` gives the others.

    Args:
        lattices: (C, 2, 2) rows a and b, angstrom, reduced.
        observed: the pattern.
    """
    bases = reciprocal_lattice(lattices)
    q = observed.q_inv_angstrom
    anchored = _orient_by_anchors(bases, lattices, observed)
    if not len(anchored):
        return Orientations.from_bases(anchored.candidate, anchored.basis, q, LAST_REACH_INV_ANGSTROM)
    best = _select_best(anchored, MAX_REFINED)
    candidate, basis = best.candidate, best.basis
    for reach, count in REFINEMENTS:
        candidate, basis = _refine_bases(candidate, basis, q[:count], reach)
    refined = Orientations.from_bases(candidate, basis, q[:MORE_SPOTS], LAST_REACH_INV_ANGSTROM)
    refined = refined.take(_is_nearly_undistorted(bases[refined.candidate], refined.basis))
    distinct = _select_distinct(refined)
    return Orientations.from_bases(distinct.candidate, distinct.basis, q, LAST_REACH_INV_ANGSTROM)


def find_lattice_symmetries(bases: FloatArray) -> list[IntArray]:
    """Return the changes of basis (A, 2, 2) that the symmetry of each lattice (C, 2, 2), exact or nearly so, allows."""
    return [_CHANGES[is_symmetry] for is_symmetry in _is_symmetry(bases, DISTORTION_TOLERANCE)]


def invert_changes(changes: IntArray) -> IntArray:
    """Return the inverses of changes of basis (A, 2, 2)."""
    (a, b), (c, d) = changes.transpose(1, 2, 0)
    adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return np.asarray((a * d - b * c)[:, None, None] * adjugate)


_CHANGES: IntArray = np.array(
    [[[a, b], [c, d]] for a, b, c, d in product((-1, 0, 1), repeat=4) if abs(a * d - b * c) == 1]
)
# Proper ones first: of equivalent orientations an unmirrored one is reported.
_CHANGES = _CHANGES[np.argsort(-np.linalg.det(_CHANGES), kind="stable")]
_MIRRORS: BoolArray = np.linalg.det(_CHANGES) < 0


def _is_symmetry(bases: FloatArray, tolerance: float) -> BoolArray:
    """Return which changes of basis (C, U) map a lattice on itself, within a relative tolerance of its lengths."""
    metric = np.einsum("cij,ckj->cik", bases, bases)
    changed = _CHANGES @ metric[:, None] @ _CHANGES.transpose(0, 2, 1)
    aa, bb, ab = metric[:, 0, 0], metric[:, 1, 1], metric[:, 0, 1]
    off = np.maximum.reduce(
        [
            np.abs(changed[:, :, 0, 0] / aa[:, None] - 1),
            np.abs(changed[:, :, 1, 1] / bb[:, None] - 1),
            np.abs(changed[:, :, 0, 1] - ab[:, None]) / np.sqrt(aa * bb)[:, None],
        ]
    )
    return np.asarray(off < 2 * tolerance)


def _orient_by_anchors(bases: FloatArray, lattices: FloatArray, observed: Observation) -> Orientations:
    """Return the orientations that put a reflection of each lattice exactly on one of the anchors."""
    anchors = _select_anchors(observed)
    lengths = np.linalg.norm(anchors, axis=1)
    index, reflections = _list_reflections(bases, lattices, float(lengths.max()) * (1 + SCALE_TOLERANCE))
    ratio = lengths[:, None] / np.linalg.norm(reflections, axis=1)
    anchor, reflection = np.nonzero(np.abs(ratio - 1) < SCALE_TOLERANCE)
    scale = ratio[anchor, reflection]
    has_mirror = np.any(_is_symmetry(bases, EXACT_TOLERANCE) & _MIRRORS, axis=1)
    candidates: list[IntArray] = []
    oriented: list[FloatArray] = []
    for sign in (1.0, -1.0):
        tried = np.full(len(reflection), True) if sign > 0 else ~has_mirror[index[reflection]]
        mirror, candidate = np.array([1.0, sign]), index[reflection[tried]]
        turn = _rotate_onto(reflections[reflection[tried]] * mirror, anchors[anchor[tried]])
        oriented.append((bases[candidate] * mirror) @ (turn * scale[tried][:, None, None]))
        candidates.append(candidate)
    candidate, basis = np.concatenate(candidates), np.concatenate(oriented)
    q = observed.q_inv_angstrom[:FIRST_SPOTS]
    return Orientations.from_bases(candidate, basis, q, FIRST_REACH_INV_ANGSTROM)


def _list_reflections(
    bases: FloatArray, lattices: FloatArray, q_max_inv_angstrom: float
) -> tuple[IntArray, FloatArray]:
    """Return one reflection of each Friedel pair of all lattices up to a |q|: its candidate (K,), and q (K, 2)."""
    # h = q . a, so |h| cannot exceed q_max |a|.
    h_max, k_max = np.floor(q_max_inv_angstrom * np.linalg.norm(lattices, axis=2)).astype(np.int64).T
    h, k = np.meshgrid(np.arange(h_max.max() + 1), np.arange(-k_max.max(), k_max.max() + 1), indexing="ij")
    half = (h > 0) | (k > 0)
    hk = np.column_stack([h[half], k[half]])
    is_possible = (hk[:, 0] <= h_max[:, None]) & (np.abs(hk[:, 1]) <= k_max[:, None])
    index, row = np.nonzero(is_possible)
    q = np.einsum("kd,kde->ke", hk[row], bases[index])
    kept = np.einsum("kd,kd->k", q, q) <= q_max_inv_angstrom**2
    return index[kept], q[kept]


def _select_anchors(observed: Observation) -> FloatArray:
    """Return the strongest spots (K, 2), one of each Friedel pair."""
    anchors: list[FloatArray] = []
    for spot in observed.q_inv_angstrom:
        if all(
            min(np.hypot(*(spot - other)), np.hypot(*(spot + other))) > MIN_ANCHOR_DISTANCE_INV_ANGSTROM
            for other in anchors
        ):
            anchors.append(spot)
        if len(anchors) == MAX_ANCHORS:
            break
    return np.array(anchors)


def _rotate_onto(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return the rotations (K, 2, 2) that turn row vectors `start` (K, 2) into the direction of `end`."""
    angle = np.arctan2(end[:, 1], end[:, 0]) - np.arctan2(start[:, 1], start[:, 0])
    rows = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=-1)
    return rows.reshape(-1, 2, 2)


def _select_best(orientations: Orientations, count: int) -> Orientations:
    """Return at most `count` orientations of each candidate, those with the highest scores first."""
    order = np.lexsort((-orientations.score, orientations.candidate))
    candidate = orientations.candidate[order]
    place = np.arange(len(order)) - np.searchsorted(candidate, candidate, side="left")
    return orientations.take(order[place < count])


def _refine_bases(
    candidate: IntArray, basis: FloatArray, q: FloatArray, reach: float
) -> tuple[IntArray, FloatArray]:
    """Return candidates (J,) and bases (J, 2, 2), fitted by least squares to the spots (N, 2) that they meet."""
    indexed = Orientations.from_bases(candidate, basis, q, reach)
    weight = (indexed.distance < reach).astype(np.float64)
    hk = indexed.hk.astype(np.float64)
    weighted = (weight[..., None] * hk).transpose(0, 2, 1)
    normal, moment = weighted @ hk, weighted @ q
    is_solvable = (compute_determinants(normal) > 0.5)[:, None, None]
    fitted = invert_matrices(np.where(is_solvable, normal, np.eye(2))) @ moment
    basis = np.where(is_solvable, fitted, basis)
    usable = np.abs(compute_determinants(basis)) > 1e-6
    return candidate[usable], basis[usable]


def compute_principal_stretches(reciprocal: FloatArray, seen: FloatArray) -> FloatArray:
    """Return the axes (J, 2) of a circle's image between bases (J, 2, 2) of crystals and pattern, the longer first."""
    return np.asarray(np.linalg.svd(invert_matrices(reciprocal) @ seen, compute_uv=False))


def _is_nearly_undistorted(reciprocal: FloatArray, seen: FloatArray) -> BoolArray:
    """Return where (J,) the map between bases of crystals and pattern is nearly a rotation of an allowed scale."""
    longer, shorter = compute_principal_stretches(reciprocal, seen).T
    has_scale = np.abs(np.sqrt(longer * shorter) - 1) < SCALE_TOLERANCE + 0.01
    return np.asarray(has_scale & (longer / shorter < 1 + DISTORTION_TOLERANCE))


def _select_distinct(orientations: Orientations) -> Orientations:
    """Leave out orientations that are clearly worse than their candidate's best, or equivalent to another one."""
    orientations = _select_best(orientations, MAX_REFINED)
    first = np.searchsorted(orientations.candidate, orientations.candidate, side="left")
    place = np.arange(len(orientations)) - first
    margin = max(2.0, 0.1 * orientations.hk.shape[1])
    kept = orientations.score > orientations.score[first] - margin
    for later in range(1, MAX_REFINED):
        rows = np.flatnonzero(place == later)
        for earlier in range(later):
            others = rows - (later - earlier)
            change = orientations.basis[rows] @ invert_matrices(orientations.basis[others])
            whole = np.rint(change)
            is_same = (np.abs(change - whole).max(axis=(1, 2)) < 2 * DISTORTION_TOLERANCE) & (
                np.abs(np.abs(compute_determinants(whole)) - 1) < 0.5
            )
            kept[rows[is_same & kept[others]]] = False
    return _select_best(orientations.take(kept), MAX_ORIENTATIONS)
