"""How a crystal's lattice can lie on the spots: rotation, mirror, scale and a small distortion.

Axes: C candidates, J settings, N spots, U changes of basis.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.plane import determinants, inverses
from model.pattern.observation import Observation
from model.physics.reciprocal import reciprocal_lattice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# The camera's scale is known to 3 %, a computed lattice to 1.5 %.
SCALE_TOLERANCE = 0.045
DISTORTION_TOLERANCE = 0.03
# Within this, a lattice's mirror image needs no attempt of its own.
EXACT_TOLERANCE = 0.002
# An anchor's own error is magnified towards the rim; after the refinement only the spots' errors are left.
FIRST_REACH_INV_ANGSTROM = 0.025
LAST_REACH_INV_ANGSTROM = 0.013
ANCHORS = 3
ANCHORS_APART_INV_ANGSTROM = 0.05
FIRST_SPOTS, MORE_SPOTS = 16, 50
REFINEMENTS = ((FIRST_REACH_INV_ANGSTROM, FIRST_SPOTS), (0.018, MORE_SPOTS))
TRIED, KEPT = 5, 3


@dataclass(frozen=True)
class Orientations:
    """J settings of several candidates' lattices on one pattern.

    Attributes:
        candidate: (J,) which candidate, ascending.
        basis: (J, 2, 2) rows a* and b* as the camera sees them, 1/angstrom.
        hk: (J, N, 2) indices of the beam nearest to each spot.
        distance: (J, N) from it, 1/angstrom.
        score: (J,) spots on the lattice beyond those that a lattice so dense would meet by chance.
    """

    candidate: IntArray
    basis: FloatArray
    hk: IntArray
    distance: FloatArray
    score: FloatArray

    def __len__(self) -> int:
        return len(self.candidate)

    @property
    def on_lattice(self) -> BoolArray:
        """(J, N) spots that lie on the lattice, the direct beam's own place left out."""
        return self.within(LAST_REACH_INV_ANGSTROM)

    def within(self, reach: float) -> BoolArray:
        """(J, N) spots no further than this from a beam, the direct beam's own place left out."""
        return (self.distance < reach) & _is_beam(self.hk)

    def take(self, rows: IntArray | BoolArray) -> "Orientations":
        """The settings at these rows."""
        return Orientations(
            self.candidate[rows], self.basis[rows], self.hk[rows], self.distance[rows], self.score[rows]
        )

    @classmethod
    def from_bases(cls, candidate: IntArray, basis: FloatArray, q: FloatArray, reach: float) -> Self:
        """Index spots (N, 2) by each basis."""
        fractional = q @ inverses(basis)
        hk = np.rint(fractional)
        off = (fractional - hk) @ basis
        distance = np.sqrt(off[..., 0] ** 2 + off[..., 1] ** 2)
        met = (distance < reach) & _is_beam(hk)
        chance = np.minimum(np.pi * reach**2 / np.abs(determinants(basis)), 0.9)
        return cls(candidate, basis, hk.astype(np.int64), distance, met.sum(axis=1) - len(q) * chance)


def _is_beam(hk: NDArray[np.number[Any]]) -> BoolArray:
    """(J, N) whether indices (J, N, 2) are any but those of the direct beam."""
    return np.asarray((hk[..., 0] != 0) | (hk[..., 1] != 0))


def find_orientations(lattices: FloatArray, observed: Observation) -> Orientations:
    """The settings in which each of C lattices meets the most spots, at most three a candidate.

    A strong spot is taken for each beam of about its length in turn, which fixes rotation and scale; the best
    of these are refined to all spots they meet. Orientations that the lattice's own symmetry turns into each other
    come once: `variants` gives the others.

    Args:
        lattices: (C, 2, 2) rows a and b, angstrom, reduced.
        observed: the pattern.
    """
    bases = reciprocal_lattice(lattices)
    q = observed.q
    first = _anchored(bases, lattices, observed)
    if not len(first):
        return Orientations.from_bases(first.candidate, first.basis, q, LAST_REACH_INV_ANGSTROM)
    best = _best_of_each(first, TRIED)
    candidate, basis = best.candidate, best.basis
    for reach, count in REFINEMENTS:
        candidate, basis = _refined(candidate, basis, q[:count], reach)
    found = Orientations.from_bases(candidate, basis, q[:MORE_SPOTS], LAST_REACH_INV_ANGSTROM)
    found = _distinct(found.take(_little_distorted(bases[found.candidate], found.basis)))
    return Orientations.from_bases(found.candidate, found.basis, q, LAST_REACH_INV_ANGSTROM)


def find_lattice_symmetries(lattice_bases: FloatArray) -> list[IntArray]:
    """Of each of C lattices (C, 2, 2) the changes of basis (A, 2, 2) that its symmetry, real or nearly so, allows."""
    return [_CHANGES[same] for same in _symmetries(lattice_bases, DISTORTION_TOLERANCE)]


def apply_symmetries(basis: FloatArray, hk: IntArray, changes: IntArray) -> tuple[FloatArray, IntArray]:
    """All settings that changes of basis make of one.

    Args:
        basis: (2, 2) of the setting.
        hk: (N, 2) indices of the spots in it.
        changes: (A, 2, 2) by `find_lattice_symmetries` its lattice.

    Returns:
        bases (A, 2, 2) and indices (A, N, 2).
    """
    return changes @ basis, hk @ invert_changes(changes)


def invert_changes(changes: IntArray) -> IntArray:
    """(A, 2, 2) inverse changes of basis."""
    (a, b), (c, d) = changes.transpose(1, 2, 0)
    adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return np.asarray((a * d - b * c)[:, None, None] * adjugate)


_CHANGES: IntArray = np.array(
    [[[a, b], [c, d]] for a, b, c, d in product((-1, 0, 1), repeat=4) if abs(a * d - b * c) == 1]
)
# Proper ones first: of settings that explain a pattern alike, an unmirrored one is told.
_CHANGES = _CHANGES[np.argsort(-np.linalg.det(_CHANGES), kind="stable")]
_MIRRORS: BoolArray = np.linalg.det(_CHANGES) < 0


def _symmetries(bases: FloatArray, tolerance: float) -> BoolArray:
    """(C, U) changes of basis that leave a lattice as it is, within a relative tolerance of its lengths."""
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


def _anchored(bases: FloatArray, lattices: FloatArray, observed: Observation) -> Orientations:
    """Orientations that put a beam of each lattice exactly on one of the anchors."""
    anchors = _anchors(observed)
    lengths = np.linalg.norm(anchors, axis=1)
    index, beams = _beams_within(bases, lattices, float(lengths.max()) * (1 + SCALE_TOLERANCE))
    ratio = lengths[:, None] / np.linalg.norm(beams, axis=1)
    anchor, beam = np.nonzero(np.abs(ratio - 1) < SCALE_TOLERANCE)
    stretch, has_mirror = ratio[anchor, beam], np.any(_symmetries(bases, EXACT_TOLERANCE) & _MIRRORS, axis=1)
    candidates: list[IntArray] = []
    found: list[FloatArray] = []
    for sign in (1.0, -1.0):
        tried = np.full(len(beam), True) if sign > 0 else ~has_mirror[index[beam]]
        mirror, own = np.array([1.0, sign]), index[beam[tried]]
        turned = _turn(beams[beam[tried]] * mirror, anchors[anchor[tried]]) * stretch[tried][:, None, None]
        found.append((bases[own] * mirror) @ turned)
        candidates.append(own)
    return Orientations.from_bases(
        np.concatenate(candidates),
        np.concatenate(found),
        observed.q[:FIRST_SPOTS],
        FIRST_REACH_INV_ANGSTROM,
    )


def _beams_within(
    bases: FloatArray, lattices: FloatArray, q_max_inv_angstrom: float
) -> tuple[IntArray, FloatArray]:
    """Beams of all lattices up to a |q|, one of a Friedel pair: whose each is, (K,), and where, (K, 2)."""
    # h = q . a, so |h| cannot exceed q_max |a|.
    h_max, k_max = np.floor(q_max_inv_angstrom * np.linalg.norm(lattices, axis=2)).astype(np.int64).T
    h, k = np.meshgrid(np.arange(h_max.max() + 1), np.arange(-k_max.max(), k_max.max() + 1), indexing="ij")
    half = (h > 0) | (k > 0)
    hk = np.column_stack([h[half], k[half]])
    within = (hk[:, 0] <= h_max[:, None]) & (np.abs(hk[:, 1]) <= k_max[:, None])
    index, row = np.nonzero(within)
    beams = np.einsum("kd,kde->ke", hk[row], bases[index])
    kept = np.einsum("kd,kd->k", beams, beams) <= q_max_inv_angstrom**2
    return index[kept], beams[kept]


def _anchors(observed: Observation) -> FloatArray:
    """The strongest spots, one of a Friedel pair."""
    chosen: list[FloatArray] = []
    for spot in observed.q:
        if all(
            min(np.hypot(*(spot - other)), np.hypot(*(spot + other))) > ANCHORS_APART_INV_ANGSTROM
            for other in chosen
        ):
            chosen.append(spot)
        if len(chosen) == ANCHORS:
            break
    return np.array(chosen)


def _turn(start: FloatArray, end: FloatArray) -> FloatArray:
    """(K, 2, 2) rotations that turn row vectors `start` (K, 2) into the direction of `end`."""
    angle = np.arctan2(end[:, 1], end[:, 0]) - np.arctan2(start[:, 1], start[:, 0])
    rows = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=-1)
    return rows.reshape(-1, 2, 2)


def _best_of_each(settings: Orientations, count: int) -> Orientations:
    """At most `count` settings of each candidate, those of the highest scores first."""
    order = np.lexsort((-settings.score, settings.candidate))
    sorted_ = settings.candidate[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_, sorted_, side="left")
    return settings.take(order[place < count])


def _refined(
    candidate: IntArray, basis: FloatArray, q: FloatArray, reach: float
) -> tuple[IntArray, FloatArray]:
    """Candidates (J,) and their bases (J, 2, 2), each fitted by least squares to the spots that it meets."""
    indexed = Orientations.from_bases(candidate, basis, q, reach)
    weight = indexed.within(reach).astype(np.float64)
    hk = indexed.hk.astype(np.float64)
    weighted = (weight[..., None] * hk).transpose(0, 2, 1)
    normal, moment = weighted @ hk, weighted @ q
    solvable = determinants(normal) > 0.5
    fitted = inverses(np.where(solvable[:, None, None], normal, np.eye(2))) @ moment
    basis = np.where(solvable[:, None, None], fitted, basis)
    usable = np.abs(determinants(basis)) > 1e-6
    return candidate[usable], basis[usable]


def compute_principal_stretches(own: FloatArray, seen: FloatArray) -> FloatArray:
    """(J, 2) axes, the longer first, of the ellipses that circles become between own and seen bases (J, 2, 2)."""
    return np.asarray(np.linalg.svd(inverses(own) @ seen, compute_uv=False))


def _little_distorted(own: FloatArray, seen: FloatArray) -> BoolArray:
    """(J,) the map from the crystal's basis to the seen one is nearly a rotation of about the right scale."""
    stretch = compute_principal_stretches(own, seen)
    scale = np.sqrt(stretch[:, 0] * stretch[:, 1])
    return np.asarray(
        (np.abs(scale - 1) < SCALE_TOLERANCE + 0.01)
        & (stretch[:, 0] / stretch[:, 1] < 1 + DISTORTION_TOLERANCE)
    )


def _distinct(settings: Orientations) -> Orientations:
    """Without settings that are clearly worse than their candidate's best, or another one by its symmetry."""
    settings = _best_of_each(settings, TRIED)
    first = np.searchsorted(settings.candidate, settings.candidate, side="left")
    place = np.arange(len(settings)) - first
    kept = settings.score > settings.score[first] - max(2.0, 0.1 * settings.hk.shape[1])
    for later in range(1, TRIED):
        rows = np.flatnonzero(place == later)
        for earlier in range(later):
            others = rows - (later - earlier)
            change = settings.basis[rows] @ inverses(settings.basis[others])
            whole = np.rint(change)
            same = (np.abs(change - whole).max(axis=(1, 2)) < 2 * DISTORTION_TOLERANCE) & (
                np.abs(np.abs(determinants(whole)) - 1) < 0.5
            )
            kept[rows[same & kept[others]]] = False
    return _best_of_each(settings.take(kept), KEPT)
