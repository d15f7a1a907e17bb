"""The lattice of a pattern from its spots alone: which two vectors count them all, and how surely.

Vectors between spots propose bases; a likelihood judges them. A spot that belongs to a lattice lies normally about
one of its points, a false one anywhere, so of two lattices that meet the same spots the one with the larger cell in
reciprocal space is likelier: superlattice spots have to be seen before they are believed. Axes: N spots, V vectors,
K bases.
"""

from dataclasses import dataclass, replace
from math import acos, degrees, pi
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.plane import determinants, inverses
from model.crystal.reduction import gauss_reduce
from model.indexing.lattice_table import sublattices
from model.pattern.observation import Observation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Bravais = Literal["hexagonal", "square", "rectangular", "centred rectangular", "oblique"]

SIGMA_RANGE_INV_ANGSTROM = (0.001, 0.006)
# Of the spots of a pattern, those that its lattice explains: nearly all, or those of one of two lattices.
TRUE_SHARES = (0.9, 0.55)
# Proposals come from the strongest spots and the vectors between them.
PROPOSING_SPOTS = 36
VECTORS = 28
SHORTEST_INV_ANGSTROM, LONGEST_INV_ANGSTROM = 0.03, 0.9
SAME_VECTOR_INV_ANGSTROM = 0.008
REFINED = 24
REFINEMENTS = 3
# Spots further than this many sigma from a point of the lattice are not on it.
REACH_SIGMA = 3.5
# ln of the likelihood over that of spots without any order, by which a lattice has to win, or less where there are few
# spots: 400 random patterns of 4 to 60 reached 26, nine of ten of each number 20. Two spots are always on a lattice.
LEAST_EVIDENCE, LEAST_EVIDENCE_OF_A_SPOT = 25.0, 5.5
LEAST_SPOTS = 3
# A camera's ellipticity passes for a lower symmetry up to here.
SYMMETRY_TOLERANCE = 0.015


@dataclass(frozen=True)
class PatternLattice:
    """The lattice of a pattern, primitive and reduced (a <= b, gamma 90 to 120 degrees).

    Attributes:
        basis: (2, 2) rows a* and b* as the camera sees them, 1/angstrom; their order and sign are those of a and b.
        covariance: (4, 4) of its elements, row by row.
        hk: (N, 2) indices of the point nearest to each spot of the observation.
        on_lattice: (N,) spots that lie on the lattice.
        sigma_inv_angstrom: rms distance of these from it along each axis.
        evidence: ln of its likelihood over that of spots without order.
    """

    basis: FloatArray
    covariance: FloatArray
    hk: IntArray
    on_lattice: BoolArray
    sigma_inv_angstrom: float
    evidence: float

    def index_spots(self, q: FloatArray) -> "PatternLattice":
        """The same lattice with the indices of these spots (N, 2)."""
        hk, square = _nearest(self.basis[None], q)
        # A single spot is off by more than the mean of a pair.
        met = square[0] < 2 * (REACH_SIGMA * self.sigma_inv_angstrom) ** 2
        return replace(self, hk=hk[0].astype(np.int64), on_lattice=np.asarray(met))

    @property
    def direct(self) -> FloatArray:
        """(2, 2) rows a and b, angstrom."""
        return np.asarray(np.linalg.inv(self.basis).T)

    @property
    def parameters(self) -> tuple[float, float, float]:
        """a and b in angstrom, gamma in degrees."""
        a, b, gamma = _parameters(self.basis)
        return float(a), float(b), float(gamma)

    @property
    def sigmas(self) -> tuple[float, float, float]:
        """Standard errors of the parameters; the scale of the camera, which may be off as a whole, is not in them."""
        step = 1e-6
        here = np.array(_parameters(self.basis))
        moved = [
            np.array(_parameters(self.basis + step * change.reshape(2, 2))) - here for change in np.eye(4)
        ]
        slopes = np.array(moved).T / step
        a, b, gamma = np.sqrt(np.einsum("ij,jk,ik->i", slopes, self.covariance, slopes)).tolist()
        return a, b, gamma

    @property
    def bravais(self) -> Bravais:
        """The highest symmetry that the lattice may have within its errors and a camera's ellipticity."""
        (a, b, gamma), (sigma_a, sigma_b, sigma_gamma) = self.parameters, self.sigmas
        length = max(SYMMETRY_TOLERANCE, 3 * (sigma_a / a + sigma_b / b))
        angle = max(degrees(SYMMETRY_TOLERANCE), 3 * sigma_gamma)
        equal = b / a - 1 < length
        if equal and abs(gamma - 120) < angle:
            return "hexagonal"
        if abs(gamma - 90) < angle:
            return "square" if equal else "rectangular"
        # A point of the lattice over the middle of a: b.a = -a^2 / 2.
        middle = abs(b / a * np.cos(np.radians(gamma)) + 0.5)
        return "centred rectangular" if equal or middle < length else "oblique"


def index_pattern(observed: Observation) -> PatternLattice | None:
    """The lattice that explains a pattern's spots best, None where none does better than chance.

    False and missing spots are borne; weak superlattice spots count as much as strong ones. What extinctions hide
    is not seen: the lattice is that of the spots, of which the crystal's own may be a superlattice.
    """
    q = _independent(observed.q)
    vectors = _vectors(q[:PROPOSING_SPOTS])
    if len(vectors) < 2:
        return None
    bases = _pairs(vectors)
    if not len(bases):
        return None
    proposed = _Scored.of(bases, q, SIGMA_RANGE_INV_ANGSTROM[1]).best(REFINED)
    best = _refined(proposed.basis, q).best(1)
    for _ in range(3):
        others = _refined(_RELATED @ best.basis[0], q).best(1)
        if others.score[0] <= best.score[0] + 1e-6:
            break
        best = others
    needed = min(LEAST_EVIDENCE, LEAST_EVIDENCE_OF_A_SPOT * len(q))
    lattice = _described(best, q)
    if best.score[0] < needed or lattice.on_lattice.sum() < LEAST_SPOTS:
        return None
    return lattice.index_spots(observed.q)


def refine_lattice(observed: Observation, basis: FloatArray) -> PatternLattice:
    """The lattice of a basis (2, 2) that is nearly right, fitted to a pattern's spots, whatever its evidence."""
    q = _independent(observed.q)
    return _described(_refined(basis[None], q), q).index_spots(observed.q)


def _independent(q: FloatArray) -> FloatArray:
    """(M, 2) with each Friedel pair as one spot: the other of it is no evidence for a lattice."""
    partner = np.linalg.norm(q[:, None] + q[None], axis=2)
    nearest = partner.argmin(axis=1)
    rows = np.arange(len(q))
    paired = (partner[rows, nearest] < 2 * SAME_VECTOR_INV_ANGSTROM) & (nearest[nearest] == rows)
    merged = np.where(paired[:, None], (q - q[nearest]) / 2, q)
    return np.asarray(merged[~(paired & (nearest < rows))])


@dataclass(frozen=True)
class _Scored:
    """K bases with what they explain.

    Attributes:
        basis: (K, 2, 2).
        sigma: (K,) rms distance of the spots on the lattice along each axis.
        score: (K,) ln of the likelihood over that of spots without order.
    """

    basis: FloatArray
    sigma: FloatArray
    score: FloatArray

    @classmethod
    def of(cls, basis: FloatArray, q: FloatArray, sigma: float | FloatArray) -> Self:
        """Score bases with the given or the fitted sigma (K,)."""
        _, square = _nearest(basis, q)
        sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), len(basis))
        area = np.abs(determinants(basis))
        density = area / (2 * pi * sigma**2)
        ratio = density[:, None] * np.exp(-square / (2 * sigma[:, None] ** 2))
        scores = [np.log(share * ratio + 1 - share).sum(axis=1) for share in TRUE_SHARES]
        return cls(basis, sigma, np.max(scores, axis=0))

    def best(self, count: int) -> "_Scored":
        """The likeliest `count`."""
        order = np.argsort(-self.score, kind="stable")[:count]
        return _Scored(self.basis[order], self.sigma[order], self.score[order])


def _nearest(basis: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(K, N, 2) indices of the lattice point nearest to each spot, and (K, N) the square of its distance.

    The direct beam's own point is no place for a spot: its distance there counts as infinite.
    """
    fractional = q @ inverses(basis)
    hk = np.rint(fractional)
    off = (fractional - hk) @ basis
    square = off[..., 0] ** 2 + off[..., 1] ** 2
    return hk, np.where(hk.any(axis=-1), square, np.inf)


def _vectors(q: FloatArray) -> FloatArray:
    """(V, 2) vectors of one half plane that recur most often among the spots and between them, those first."""
    between = q[:, None] - q[None]
    pairs = between[np.triu_indices(len(q), 1)]
    all_ = np.concatenate([q, pairs])
    all_ = np.where((all_[:, 1] < 0) | ((all_[:, 1] == 0) & (all_[:, 0] < 0)), -1, 1)[:, None] * all_
    length = np.hypot(*all_.T)
    all_ = all_[(length > SHORTEST_INV_ANGSTROM) & (length < LONGEST_INV_ANGSTROM)]
    if not len(all_):
        return np.empty((0, 2))
    x, y = all_.T
    near = np.abs(x[:, None] - x) < SAME_VECTOR_INV_ANGSTROM
    near &= np.abs(y[:, None] - y) < SAME_VECTOR_INV_ANGSTROM
    count = near.sum(axis=1)
    means = (near.astype(np.float32) @ all_.astype(np.float32)).astype(np.float64) / count[:, None]
    # Every lattice vector recurs; the short ones recur most, as more spots have a neighbour there.
    chosen: list[int] = []
    free = np.full(len(means), True)
    for place in np.argsort(-count, kind="stable").tolist():
        if free[place]:
            chosen.append(place)
            free &= (np.abs(means - means[place]) > SAME_VECTOR_INV_ANGSTROM).any(axis=1)
        if len(chosen) == VECTORS:
            break
    return np.asarray(means[chosen])


def _pairs(vectors: FloatArray) -> FloatArray:
    """(K, 2, 2) bases of two vectors that are not nearly parallel."""
    first, second = np.triu_indices(len(vectors), 1)
    basis = np.stack([vectors[first], vectors[second]], axis=1)
    area = np.abs(determinants(basis))
    length = np.linalg.norm(basis, axis=2)
    return np.asarray(basis[area > 0.2 * length[:, 0] * length[:, 1]])


def _refined(basis: FloatArray, q: FloatArray) -> _Scored:
    """Bases fitted by least squares to the spots that they meet, weighted by how surely those belong to them."""
    sigma = np.full(len(basis), SIGMA_RANGE_INV_ANGSTROM[1])
    for _ in range(REFINEMENTS):
        hk, square = _nearest(basis, q)
        belongs = _belonging(square, basis, sigma)
        weighted = (belongs[..., None] * hk).transpose(0, 2, 1)
        normal = weighted @ hk + 1e-9 * np.eye(2)
        solvable = determinants(normal) > 0.5
        solved = inverses(np.where(solvable[:, None, None], normal, np.eye(2))) @ (weighted @ q)
        kept = solvable & (np.abs(determinants(solved)) > 1e-4)
        basis = np.where(kept[:, None, None], solved, basis)
        _, square = _nearest(basis, q)
        near = np.where(np.isfinite(square), square, 0)
        mean = (belongs * near).sum(axis=1) / np.maximum(2 * belongs.sum(axis=1) - 4, 2)
        sigma = np.clip(np.sqrt(mean), *SIGMA_RANGE_INV_ANGSTROM)
    return _Scored.of(basis, q, sigma)


def _belonging(square: FloatArray, basis: FloatArray, sigma: FloatArray) -> FloatArray:
    """(K, N) probability that a spot belongs to the lattice."""
    density = np.abs(determinants(basis)) / (2 * pi * sigma**2)
    share = TRUE_SHARES[0]
    ratio = share * density[:, None] * np.exp(-square / (2 * sigma[:, None] ** 2))
    return np.asarray(ratio / (ratio + 1 - share))


# To the lattices of twice and three times the points, and of half and a third of them.
_COARSER = sublattices((2, 3))
_RELATED = np.concatenate([np.linalg.inv(_COARSER), _COARSER])


def _described(best: _Scored, q: FloatArray) -> PatternLattice:
    """The best lattice in its reduced basis."""
    direct, _ = gauss_reduce(np.linalg.inv(best.basis[0]).T)
    if direct[0] @ direct[1] > 0:
        direct[1] = -direct[1]
    basis = np.asarray(np.linalg.inv(direct).T, dtype=np.float64)
    sigma = float(best.sigma[0])
    hk, square = _nearest(basis[None], q)
    met = square[0] < (REACH_SIGMA * sigma) ** 2
    own = hk[0][met]
    spread = np.kron(np.linalg.inv(own.T @ own + 1e-9 * np.eye(2)), np.eye(2))
    return PatternLattice(
        basis=basis,
        covariance=np.asarray(spread * sigma**2, dtype=np.float64),
        hk=hk[0].astype(np.int64),
        on_lattice=np.asarray(met),
        sigma_inv_angstrom=sigma,
        evidence=float(best.score[0]),
    )


def _parameters(basis: FloatArray) -> tuple[float, float, float]:
    """a and b in angstrom, gamma in degrees, of a reciprocal basis."""
    a, b = np.linalg.inv(basis).T
    lengths = float(np.hypot(*a)), float(np.hypot(*b))
    cosine = float(a @ b) / (lengths[0] * lengths[1])
    return lengths[0], lengths[1], degrees(acos(min(max(cosine, -1.0), 1.0)))
