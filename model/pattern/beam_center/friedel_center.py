"""Where the direct beam hits, told by the inversion symmetry of the spots."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]

_VOTERS = 160
_JUDGES = 1000
_CANDIDATES = 40
_LOG_MISMATCH = 0.9  # rms of ln I(q)/I(-q) that tilt and polar layers cause


@dataclass(frozen=True)
class Center:
    """A centre with its support.

    Attributes:
        x, y: in the positions' unit.
        pairs: number of Friedel pairs it rests on.
        paired_fraction: share of the spots, weighted as in the vote, that have a partner.
    """

    x: float
    y: float
    pairs: int
    paired_fraction: float


def find_friedel_center(
    positions: FloatArray,
    intensity: FloatArray | None = None,
    *,
    guess: tuple[float, float] | None = None,
    search_radius: float | None = None,
    view: tuple[float, float, float, float] | None = None,
) -> Center | None:
    """The point about which most spots have a partner of like intensity, or None without any pair.

    Every pair of spots votes for its midpoint; the best-supported midpoints are then scored with all spots,
    so that a centre half a lattice vector off loses by the spots it leaves alone. Missing and false spots
    only lower the support.

    Args:
        positions: (N, 2).
        intensity: (N,) positive, or None.
        guess: a rough centre, with `search_radius` around it.
        search_radius: how far from `guess` the centre may lie.
        view: x0, y0, x1, y1 of the field recorded; a spot whose partner would lie outside is no evidence.
    """
    if len(positions) < 2:
        return None
    strength = weigh_spots(len(positions), intensity)
    outside = np.linalg.norm(positions - (np.median(positions, axis=0) if guess is None else guess), axis=1)
    kept = np.lexsort((outside, -strength))[:_JUDGES]
    points, strength = positions[kept], strength[kept]
    tree = cKDTree(points)
    tolerance = _tolerance(tree)
    candidates = _voted(points[:_VOTERS], strength[:_VOTERS], tolerance, guess, search_radius)
    if not len(candidates):
        return None
    return _best_supported(tree, strength, candidates, tolerance, view)


def measure_friedel_support(
    positions: FloatArray,
    intensity: FloatArray | None,
    center: tuple[float, float],
    view: tuple[float, float, float, float] | None = None,
) -> Center:
    """The support of a centre that is given; arguments as of `find_friedel_center`."""
    if len(positions) < 2:
        return Center(*center, pairs=0, paired_fraction=0.0)
    tree = cKDTree(positions)
    strength = weigh_spots(len(positions), intensity)
    _, pairs, fraction = _score(tree, strength, np.array(center), _tolerance(tree), view)
    return Center(*center, pairs=pairs, paired_fraction=fraction)


def refine_best_center(
    positions: FloatArray,
    intensity: FloatArray | None,
    candidates: FloatArray,
    view: tuple[float, float, float, float] | None = None,
) -> Center | None:
    """Return the candidate (C, 2) with the best support, moved to the middle of its pairs."""
    tree, strength = cKDTree(positions), weigh_spots(len(positions), intensity)
    return _best_supported(tree, strength, candidates, _tolerance(tree), view)


def weigh_spots(count: int, intensity: FloatArray | None) -> FloatArray:
    """Weights from 0.3 for the weakest to 1.3 for the strongest, linear in ln I."""
    if intensity is None:
        return np.ones(count)
    logarithm = np.log(intensity)
    spread = float(np.ptp(logarithm))
    return np.ones(count) if spread == 0 else 0.3 + (logarithm - logarithm.min()) / max(spread, _LOG_MISMATCH)


def _tolerance(tree: cKDTree) -> float:
    """A sixth of the spots' spacing: lattice points cannot be confused, distortion is forgiven."""
    distance = tree.query(tree.data, k=2)[0][:, 1]
    return max(float(np.quantile(distance, 0.25)) / 6, 1e-9)


def _best_supported(
    tree: cKDTree,
    strength: FloatArray,
    candidates: FloatArray,
    tolerance: float,
    view: tuple[float, float, float, float] | None,
) -> Center | None:
    best = candidates[int(np.argmax(_scores(tree, strength, candidates, tolerance, view)[0]))]
    for _ in range(3):
        best = _refined(tree, strength, best, tolerance)
    _, pairs, fraction = _score(tree, strength, best, tolerance, view)
    return Center(float(best[0]), float(best[1]), pairs, fraction) if pairs else None


def _voted(
    points: FloatArray,
    strength: FloatArray,
    tolerance: float,
    guess: tuple[float, float] | None,
    search_radius: float | None,
) -> FloatArray:
    """(C, 2) midpoints with the most votes, the best first."""
    i, j = np.triu_indices(len(points), k=1)
    middle = (points[i] + points[j]) / 2
    weight = np.minimum(strength[i], strength[j]) * np.exp(-4 * (strength[i] - strength[j]) ** 2)
    if guess is not None and search_radius is not None:
        near = np.hypot(*(middle - guess).T) < search_radius
        middle, weight = middle[near], weight[near]
    if not len(middle):
        return np.empty((0, 2))
    cell = np.floor((middle - middle.min(axis=0)) / tolerance).astype(np.int64)
    key, member = np.unique(cell[:, 0] * (cell[:, 1].max() + 2) + cell[:, 1], return_inverse=True)
    votes = np.bincount(member, weight, len(key))
    x, y = (np.bincount(member, weight * m, len(key)) / votes for m in middle.T)
    return np.column_stack([x, y])[np.argsort(-votes, kind="stable")[:_CANDIDATES]]


def _score(
    tree: cKDTree,
    strength: FloatArray,
    center: FloatArray,
    tolerance: float,
    view: tuple[float, float, float, float] | None,
) -> tuple[float, int, float]:
    """Support of a centre, the number of its pairs, and the weighted share of spots that are paired."""
    totals, pairs, fractions = _scores(tree, strength, center[None], tolerance, view)
    return float(totals[0]), int(pairs[0]), float(fractions[0])


def _scores(
    tree: cKDTree,
    strength: FloatArray,
    centers: FloatArray,
    tolerance: float,
    view: tuple[float, float, float, float] | None,
) -> tuple[FloatArray, NDArray[np.intp], FloatArray]:
    """(C,) of each of centres (C, 2), as `_score`."""
    mirrored = 2 * centers[:, None] - tree.data  # (C, N, 2)
    distance, partner = tree.query(mirrored, distance_upper_bound=2 * tolerance)
    paired = np.isfinite(distance)
    seen = np.ones(paired.shape, dtype=bool)
    if view is not None:
        seen = (mirrored >= view[:2]).all(axis=2) & (mirrored <= view[2:]).all(axis=2)
    other = strength[np.where(paired, partner, 0)]
    closeness = np.exp(-((np.where(paired, distance, 0) / tolerance) ** 2) / 2)
    gain = closeness * strength * other - (strength - other) ** 2
    alone = seen & ~paired
    totals = np.where(paired, gain, 0).sum(axis=1) - 0.5 * alone @ strength**2
    weight = paired @ strength
    fractions = weight / np.maximum(weight + alone @ strength, 1e-12)
    pairs = (paired & (partner != np.arange(len(tree.data)))).sum(axis=1) // 2
    return totals, pairs, fractions


def _refined(tree: cKDTree, strength: FloatArray, center: FloatArray, tolerance: float) -> FloatArray:
    """The weighted mean of the midpoints of the pairs, far ones counting less."""
    distance, partner = tree.query(2 * center - tree.data, distance_upper_bound=2 * tolerance)
    paired = np.flatnonzero(np.isfinite(distance))
    if not len(paired):
        return center
    middle = (tree.data[paired] + tree.data[partner[paired]]) / 2
    scale = max(float(np.median(distance[paired])), 1e-3 * tolerance)
    weight = strength[paired] / (1 + (distance[paired] / (2 * scale)) ** 2)
    mean: FloatArray = (weight[:, None] * middle).sum(axis=0) / weight.sum()
    return mean
