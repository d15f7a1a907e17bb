"""Lattice of the spots of a frame, and the correction of a center that is not one of its nodes.

A pattern that is symmetric about its direct beam is nearly symmetric about every half of a lattice vector too. The
difference is that spots lie at whole lattice vectors from the direct beam.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.beam_center.symmetry_center import Center, FieldOfView, refine_best_center, weigh_spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MAX_SPOTS, _MAX_COMPARED = 100, 60
_MAX_ORIGINS = 4
_MIN_SPOTS = 6
_COMMON_SHARE = 0.35
_MIN_SINE = 0.35
_TOLERANCE = 0.15
_MIN_INDEXED_SHARE = 0.7
_DISTORTION_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class SpotLattice:
    """A lattice on which most spots of a frame lie.

    Attributes:
        origin: (2,) one of its nodes, x, y in pixels.
        basis: (2, 2) its shortest vectors as rows, in pixels.
    """

    origin: FloatArray
    basis: FloatArray

    @classmethod
    def fit(cls, pixels: FloatArray, weight: FloatArray, near: FloatArray) -> Self | None:
        """Fit a lattice to spots; None if less than seven tenths of their weight lies on one.

        Args:
            pixels: (N, 2).
            weight: (N,) weight of each spot.
            near: (2,) where the indexing starts.
        """
        if len(pixels) < _MIN_SPOTS:
            return None
        strongest = np.argsort(-weight, kind="stable")[:_MAX_SPOTS]
        pixels, weight = pixels[strongest], weight[strongest]
        basis = _find_shortest_differences(pixels[:_MAX_COMPARED])
        if basis is None:
            return None
        nearest = np.argsort(np.hypot(*(pixels - near).T), kind="stable")[:_MAX_ORIGINS]
        best, best_weight = None, _MIN_INDEXED_SHARE * float(weight.sum())
        for origin in pixels[nearest]:
            lattice, is_indexed = cls(origin, basis)._extend(pixels)
            indexed_weight = float(weight[is_indexed].sum())
            if indexed_weight >= best_weight:
                best, best_weight = lattice, indexed_weight
        return best

    def _extend(self, pixels: FloatArray) -> tuple[Self, NDArray[np.bool_]]:
        """Fit the lattice to spots farther and farther from its origin; also return which of them lie on it."""
        origin, basis = self.origin, self.basis
        distance, is_indexed = np.hypot(*(pixels - origin).T), np.zeros(len(pixels), dtype=bool)
        step = float(np.hypot(*basis.T).max())
        for reach in (2.5, 4.0, 7.0, 12.0, np.inf):
            coordinates = (pixels - origin) @ np.linalg.inv(basis)
            index = np.rint(coordinates)
            is_indexed = (np.abs(coordinates - index).max(axis=1) < _TOLERANCE) & (distance < reach * step)
            if is_indexed.sum() < _MIN_SPOTS:
                continue
            design = np.column_stack([index[is_indexed], np.ones(int(is_indexed.sum()))])
            solution, _, rank, _ = np.linalg.lstsq(design, pixels[is_indexed], rcond=None)
            if rank == 3 and abs(np.linalg.det(solution[:2])) > 0:
                basis, origin = solution[:2], solution[2]
        return replace(self, origin=origin, basis=basis), is_indexed

    def to_coordinates(self, points: FloatArray) -> FloatArray:
        """Return points (..., 2) in units of the basis vectors, from the origin."""
        return np.asarray((points - self.origin) @ np.linalg.inv(self.basis))

    def compute_distances(self, points: FloatArray) -> FloatArray:
        """Return the distances (N,) of points (N, 2) from the nearest nodes, in pixels."""
        coordinates = self.to_coordinates(points)
        return np.asarray(np.hypot(*((coordinates - np.rint(coordinates)) @ self.basis).T))

    def find_nodes_near(self, point: FloatArray) -> FloatArray:
        """Return the nodes (M, 2) within about one basis vector of a point, in pixels."""
        steps = np.array([[h, k] for h in (-1, 0, 1, 2) for k in (-1, 0, 1, 2)])
        coordinates = self.to_coordinates(point)
        index = np.floor(coordinates) + steps
        index = index[np.abs(index - coordinates).max(axis=1) < 1 + _TOLERANCE]
        return np.asarray(self.origin + index @ self.basis)

    def find_indices_within(self, view: FieldOfView) -> IntArray:
        """Return the indices (M, 2) of the nodes in a field of pixels."""
        x0, y0, x1, y1 = view
        corners = self.to_coordinates(np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        h, k = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij")
        index = np.column_stack([h.ravel(), k.ravel()]).astype(np.int64)
        pixels = self.origin + index @ self.basis
        return np.asarray(index[((pixels >= [x0, y0]) & (pixels <= [x1, y1])).all(axis=1)])

    def find_symmetries(self) -> tuple[IntArray, ...]:
        """Return the operations (2, 2), other than the identity, that nearly map the lattice onto itself.

        Rows of indices are multiplied by them from the right.
        """
        metric = self.basis @ self.basis.T
        tolerance = _DISTORTION_TOLERANCE * np.sqrt(np.linalg.det(metric))
        operations = (np.array(each).reshape(2, 2) for each in product((-1, 0, 1), repeat=4))
        return tuple(
            operation
            for operation in operations
            if abs(round(np.linalg.det(operation))) == 1
            and np.abs(operation @ metric @ operation.T - metric).max() < tolerance
            and not np.array_equal(operation, np.eye(2))
        )


def is_half_node(lattice: SpotLattice, point: FloatArray) -> bool:
    """Return whether a point is displaced from the nodes by half a lattice vector."""
    coordinates = lattice.to_coordinates(point)
    is_on_half_grid = np.abs(2 * coordinates - np.rint(2 * coordinates)).max() < 2 * _TOLERANCE
    return bool(is_on_half_grid and np.abs(coordinates - np.rint(coordinates)).max() > 0.5 - _TOLERANCE)


def move_to_lattice_node(
    pixels: FloatArray, amplitude: FloatArray, center: Center, view: FieldOfView
) -> Center:
    """Return the center or, if it is displaced by half a lattice vector, the nearby node with the best symmetry.

    Args:
        pixels: (N, 2) positions of all spots; the direct beam may be among them.
        amplitude: (N,) their heights, positive.
        center: center of inversion symmetry.
        view: recorded field.
    """
    weight = weigh_spots(len(pixels), amplitude)
    point = np.array([center.x, center.y])
    lattice = SpotLattice.fit(pixels, weight, point)
    if lattice is None or not is_half_node(lattice, point):
        return center
    # In 484 rendered frames, each started from its three half nodes, the symmetry was always best at the direct beam.
    best = refine_best_center(pixels, amplitude, lattice.find_nodes_near(point), view)
    return center if best is None else best


def _find_shortest_differences(pixels: FloatArray) -> FloatArray | None:
    """Return the two shortest vectors (2, 2) between many of the spots that are not parallel."""
    spacing = float(np.median(cKDTree(pixels).query(pixels, k=2)[0][:, 1]))
    difference = (pixels[:, None] - pixels[None]).reshape(-1, 2)
    length = np.hypot(*difference.T)
    is_used = (length > 0.5 * spacing) & (length < 6 * spacing) & (difference @ [1.0, 1e-3] > 0)
    difference, length = difference[is_used], length[is_used]
    if not len(difference):
        return None
    tree, tolerance = cKDTree(difference), 0.08 * spacing
    votes = tree.query_ball_point(difference, tolerance, return_length=True)
    common = np.flatnonzero(votes >= _COMMON_SHARE * votes.max())
    common = common[np.argsort(length[common], kind="stable")]

    def average_near(row: int) -> FloatArray:
        """Return the mean of the differences that are similar to the one in this row."""
        return np.asarray(difference[tree.query_ball_point(difference[row], tolerance)].mean(axis=0))

    first = average_near(common[0])
    across = np.abs(difference[common] @ [-first[1], first[0]])
    sine = across / np.hypot(*first) / length[common]
    steep = np.flatnonzero(sine > _MIN_SINE)
    return np.array([first, average_near(common[steep[0]])]) if len(steep) else None
