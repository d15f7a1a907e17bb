"""Center of a pattern from its inversion symmetry: that of the whole frame, and that of its spots."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.signal.peaks import find_local_maxima
from model.pattern.signal.preprocessing import BinnedImage

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
FieldOfView = tuple[float, float, float, float]
"""x0, y0, x1, y1 of the recorded field."""

_MAX_VOTERS = 160
_MAX_JUDGES = 1000
_MAX_CANDIDATES = 40
_LOG_RATIO_SIGMA = 0.9  # rms of ln I(q)/I(-q) that tilt and polar layers cause

_COARSE_SIDE = 160
_FILTER_SIGMA = 1.3
_MAX_MAXIMA = 160
_MIN_PAIRED_FRACTION, _MIN_PAIRED_FRACTION_FAR = 0.25, 0.6
_COMPARABLE_SUPPORT = 0.38


@dataclass(frozen=True)
class Center:
    """A center and its support.

    Attributes:
        x, y: in the units of the positions.
        pairs: number of Friedel pairs about it.
        paired_fraction: share of the spots that have a Friedel mate, weighted as in the vote.
    """

    x: float
    y: float
    pairs: int
    paired_fraction: float


def estimate_center(counts: FloatImage) -> tuple[float, float]:
    """Estimate the center from the symmetry of the frame, refined with the Friedel pairs of its strong spots.

    Where there are pairs it is good to a few tenths of a pixel, with a direct beam, saturated or not, or a beam stop.

    Args:
        counts: (h, w) of the binned frame.

    Returns:
        x, y.
    """
    sample = counts.ravel()[::7]
    dark = np.partition(sample, len(sample) // 50)[len(sample) // 50]
    root = np.sqrt(np.maximum(counts - dark, 0))
    guess = find_symmetry_center(np.log1p(root))
    contrast = ndi.gaussian_filter(root, _FILTER_SIGMA, truncate=3) - ndi.uniform_filter(root, 11)
    spread = np.median(np.abs(contrast.ravel()[::7])) * 1.4826
    rows, columns = find_local_maxima(contrast, 6 * spread)
    strongest = np.argsort(-contrast[rows, columns])[:_MAX_MAXIMA]
    rows, columns = rows[strongest], columns[strongest]
    positions = np.column_stack([columns, rows]).astype(float)
    height = contrast[rows, columns].astype(float) ** 2
    view = (0.0, 0.0, counts.shape[1] - 1.0, counts.shape[0] - 1.0)

    def find_paired_center(start: tuple[float, float], radius: float) -> Center | None:
        reach = radius * max(counts.shape)
        return find_friedel_center(positions, height, guess=start, search_radius=reach, view=view)

    # A gradient over the frame has a symmetry of its own, which the spots do not share; discs that touch have several
    # nearly equal ones. Where the brightest place agrees with the symmetry of the frame, both are the direct beam, and
    # its spots need less support than elsewhere.
    brightest = _find_brightest(root)
    guesses = (guess, find_symmetry_center(np.maximum(contrast, 0)), brightest)
    near = [center for each in guesses if (center := find_paired_center(each, 0.03)) and center.pairs >= 3]
    near = [center for center in near if center.paired_fraction > _MIN_PAIRED_FRACTION]
    best = max(near, key=_compute_support, default=None)
    if best is not None:
        agree = np.hypot(brightest[0] - guess[0], brightest[1] - guess[1]) < 0.02 * max(counts.shape)
        is_comparable = _compute_support(near[0]) > _COMPARABLE_SUPPORT * _compute_support(best)
        chosen = near[0] if agree and is_comparable else best
        return chosen.x, chosen.y
    # Without diffuse scattering about the center, the symmetry of the frame can be that of a few spots.
    middle = (counts.shape[1] - 1) / 2, (counts.shape[0] - 1) / 2
    far = find_paired_center(middle, 0.15)
    if far and far.pairs >= 5 and far.paired_fraction > _MIN_PAIRED_FRACTION_FAR:
        return far.x, far.y
    return guess


def find_symmetry_center(image: FloatImage) -> tuple[float, float]:
    """Find the point about which the frame, rotated by 180 degrees, agrees best with itself.

    The autoconvolution A(2c) = sum_x g(x) g(2c - x) of the block-averaged image g above its median has its maximum at
    the center of inversion, wherever the brightest pixel is. It is good to about a block, a side of the frame / 160.

    Args:
        image: (H, W).

    Returns:
        x, y.
    """
    block = max(1, max(image.shape) // _COARSE_SIDE)
    height, width = (side // block for side in image.shape)
    coarse = image[: height * block, : width * block].reshape(height, block, width, block).mean(axis=(1, 3))
    # A beam stop is darker than most of the frame; clipped, it contributes no symmetry of its own.
    coarse = np.maximum(coarse - np.median(coarse), 0)
    shape = [scipy.fft.next_fast_len(2 * side, real=True) for side in coarse.shape]
    transform = scipy.fft.rfft2(coarse, shape)
    agreement = scipy.fft.irfft2(transform * transform, shape)
    # The center lies in the middle half of the frame; farther out the overlap is too small.
    rows = slice(height // 2, 2 * height - height // 2)
    columns = slice(width // 2, 2 * width - width // 2)
    y, x = np.unravel_index(int(np.argmax(agreement[rows, columns])), agreement[rows, columns].shape)
    center = (np.array([x + columns.start, y + rows.start]) / 2 + 0.5) * block - 0.5
    return float(center[0]), float(center[1])


def _find_brightest(image: FloatImage) -> tuple[float, float]:
    """Return the center of the brightest six by six pixels."""
    halved = BinnedImage.from_counts(image, max(image.shape) // 2)
    coarse = ndi.uniform_filter(halved.counts, 3)
    y, x = np.unravel_index(int(np.argmax(coarse)), coarse.shape)
    return halved.to_pixel((float(x), float(y)))


def _compute_support(center: Center) -> float:
    return center.pairs * center.paired_fraction


def find_friedel_center(
    positions: FloatArray,
    intensity: FloatArray | None = None,
    *,
    guess: tuple[float, float] | None = None,
    search_radius: float | None = None,
    view: FieldOfView | None = None,
) -> Center | None:
    """Find the point about which most spots have a mate of similar intensity; None if there is no pair.

    Every pair of spots votes for its midpoint. The midpoints with the most votes are then scored with all spots, so
    that a center displaced by half a lattice vector loses by the spots without a mate. Missing and false spots only
    lower the support.

    Args:
        positions: (N, 2).
        intensity: (N,) positive, or None.
        guess: a rough center, with `search_radius` around it.
        search_radius: how far from `guess` the center may lie.
        view: recorded field; a spot whose mate would lie outside is no evidence.
    """
    if len(positions) < 2:
        return None
    weight = weigh_spots(len(positions), intensity)
    outside = np.linalg.norm(positions - (np.median(positions, axis=0) if guess is None else guess), axis=1)
    kept = np.lexsort((outside, -weight))[:_MAX_JUDGES]
    points, weight = positions[kept], weight[kept]
    tree = cKDTree(points)
    tolerance = _choose_tolerance(tree)
    candidates = _vote(points[:_MAX_VOTERS], weight[:_MAX_VOTERS], tolerance, guess, search_radius)
    if not len(candidates):
        return None
    return _refine_best(tree, weight, candidates, tolerance, view)


def measure_friedel_support(
    positions: FloatArray,
    intensity: FloatArray | None,
    center: tuple[float, float],
    view: FieldOfView | None = None,
) -> Center:
    """Return a given center with its support; arguments as for `find_friedel_center`."""
    if len(positions) < 2:
        return Center(*center, pairs=0, paired_fraction=0.0)
    tree = cKDTree(positions)
    weight = weigh_spots(len(positions), intensity)
    pairs, fraction = _count_pairs(tree, weight, np.array(center), _choose_tolerance(tree), view)
    return Center(*center, pairs=pairs, paired_fraction=fraction)


def refine_best_center(
    positions: FloatArray, intensity: FloatArray | None, candidates: FloatArray, view: FieldOfView | None
) -> Center | None:
    """Return the candidate (C, 2) with the best support, moved to the middle of its pairs."""
    tree, weight = cKDTree(positions), weigh_spots(len(positions), intensity)
    return _refine_best(tree, weight, candidates, _choose_tolerance(tree), view)


def weigh_spots(count: int, intensity: FloatArray | None) -> FloatArray:
    """Return weights from 0.3 for the weakest to 1.3 for the strongest spot, linear in ln I."""
    if intensity is None:
        return np.ones(count)
    logarithm = np.log(intensity)
    spread = float(np.ptp(logarithm))
    if spread == 0:
        return np.ones(count)
    return np.asarray(0.3 + (logarithm - logarithm.min()) / max(spread, _LOG_RATIO_SIGMA))


def _choose_tolerance(tree: cKDTree) -> float:
    """Return a sixth of the spacing of the spots, which tolerates distortion and confuses no lattice points."""
    distance = tree.query(tree.data, k=2)[0][:, 1]
    return max(float(np.quantile(distance, 0.25)) / 6, 1e-9)


def _vote(
    points: FloatArray,
    weight: FloatArray,
    tolerance: float,
    guess: tuple[float, float] | None,
    search_radius: float | None,
) -> FloatArray:
    """Return the midpoints (C, 2) with the most votes, best first."""
    i, j = np.triu_indices(len(points), k=1)
    middle = (points[i] + points[j]) / 2
    vote = np.minimum(weight[i], weight[j]) * np.exp(-4 * (weight[i] - weight[j]) ** 2)
    if guess is not None and search_radius is not None:
        is_near = np.hypot(*(middle - guess).T) < search_radius
        middle, vote = middle[is_near], vote[is_near]
    if not len(middle):
        return np.empty((0, 2))
    cell = np.floor((middle - middle.min(axis=0)) / tolerance).astype(np.int64)
    key, member = np.unique(cell[:, 0] * (cell[:, 1].max() + 2) + cell[:, 1], return_inverse=True)
    votes = np.bincount(member, vote, len(key))
    x, y = (np.bincount(member, vote * m, len(key)) / votes for m in middle.T)
    return np.column_stack([x, y])[np.argsort(-votes, kind="stable")[:_MAX_CANDIDATES]]


def _refine_best(
    tree: cKDTree,
    weight: FloatArray,
    candidates: FloatArray,
    tolerance: float,
    view: FieldOfView | None,
) -> Center | None:
    best = candidates[int(np.argmax(_score_centers(tree, weight, candidates, tolerance, view)[0]))]
    for _ in range(3):
        best = _move_to_midpoints(tree, weight, best, tolerance)
    pairs, fraction = _count_pairs(tree, weight, best, tolerance, view)
    return Center(float(best[0]), float(best[1]), pairs, fraction) if pairs else None


def _count_pairs(
    tree: cKDTree, weight: FloatArray, center: FloatArray, tolerance: float, view: FieldOfView | None
) -> tuple[int, float]:
    """Return the number of pairs about a center, and the weighted share of spots that are paired."""
    _, pairs, fractions = _score_centers(tree, weight, center[None], tolerance, view)
    return int(pairs[0]), float(fractions[0])


def _score_centers(
    tree: cKDTree, weight: FloatArray, centers: FloatArray, tolerance: float, view: FieldOfView | None
) -> tuple[FloatArray, NDArray[np.intp], FloatArray]:
    """Return support, number of pairs and weighted paired share of each center (C, 2); three arrays (C,)."""
    mirrored = 2 * centers[:, None] - tree.data  # (C, N, 2)
    distance, mate = tree.query(mirrored, distance_upper_bound=2 * tolerance)
    paired = np.isfinite(distance)
    in_view = np.ones(paired.shape, dtype=bool)
    if view is not None:
        in_view = (mirrored >= view[:2]).all(axis=2) & (mirrored <= view[2:]).all(axis=2)
    other = weight[np.where(paired, mate, 0)]
    closeness = np.exp(-((np.where(paired, distance, 0) / tolerance) ** 2) / 2)
    gain = closeness * weight * other - (weight - other) ** 2
    alone = in_view & ~paired
    support = np.where(paired, gain, 0).sum(axis=1) - 0.5 * alone @ weight**2
    paired_weight = paired @ weight
    fractions = paired_weight / np.maximum(paired_weight + alone @ weight, 1e-12)
    pairs = (paired & (mate != np.arange(len(tree.data)))).sum(axis=1) // 2
    return support, pairs, fractions


def _move_to_midpoints(tree: cKDTree, weight: FloatArray, center: FloatArray, tolerance: float) -> FloatArray:
    """Return the weighted mean of the midpoints of the pairs; distant midpoints weigh less."""
    distance, mate = tree.query(2 * center - tree.data, distance_upper_bound=2 * tolerance)
    paired = np.flatnonzero(np.isfinite(distance))
    if not len(paired):
        return center
    middle = (tree.data[paired] + tree.data[mate[paired]]) / 2
    scale = max(float(np.median(distance[paired])), 1e-3 * tolerance)
    share = weight[paired] / (1 + (distance[paired] / (2 * scale)) ** 2)
    mean: FloatArray = (share[:, None] * middle).sum(axis=0) / share.sum()
    return mean
