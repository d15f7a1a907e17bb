"""Whether a centre of symmetry is a node of the spots' own lattice, as the direct beam is.

A pattern that is symmetric about its direct beam is nearly so about every half of a lattice vector too: what tells them
apart is that spots lie at whole lattice vectors from the direct beam.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.beam_center.friedel_center import Center, refine_best_center, weigh_spots

FloatArray = NDArray[np.float64]

_MOST_SPOTS, _MOST_COMPARED = 100, 60
_ORIGINS = 4
_FEWEST_SPOTS = 6
_COMMON = 0.35
_LEAST_SINE = 0.35
_NEAR = 0.15
_LEAST_MET = 0.7
_DISTORTED = 0.05


@dataclass(frozen=True, eq=False)
class SpotLattice:
    """A lattice that most spots of a frame lie on.

    Attributes:
        origin: (2,) one of its nodes, x, y in pixels.
        basis: (2, 2) rows its shortest vectors, pixels.
    """

    origin: FloatArray
    basis: FloatArray

    @classmethod
    def of(cls, pixels: FloatArray, strength: FloatArray, near: FloatArray) -> Self | None:
        """The lattice of spots, or None where fewer than seven in ten lie on one.

        Args:
            pixels: (N, 2).
            strength: (N,) what each counts.
            near: (2,) where the lattice is followed from.
        """
        if len(pixels) < _FEWEST_SPOTS:
            return None
        strongest = np.argsort(-strength, kind="stable")[:_MOST_SPOTS]
        pixels, strength = pixels[strongest], strength[strongest]
        basis = _shortest_differences(pixels[:_MOST_COMPARED])
        if basis is None:
            return None
        nearest = np.argsort(np.hypot(*(pixels - near).T), kind="stable")[:_ORIGINS]
        best, most = None, _LEAST_MET * float(strength.sum())
        for origin in pixels[nearest]:
            found, met = cls(origin, basis)._followed(pixels)
            on_it = float(strength[met].sum())
            if on_it >= most:
                best, most = found, on_it
        return best

    def _followed(self, pixels: FloatArray) -> tuple[Self, NDArray[np.bool_]]:
        """The lattice fitted to the spots farther and farther from its origin, and those that lie on it."""
        origin, basis = self.origin, self.basis
        distance, met = np.hypot(*(pixels - origin).T), np.zeros(len(pixels), dtype=bool)
        step = float(np.hypot(*basis.T).max())
        for reach in (2.5, 4.0, 7.0, 12.0, np.inf):
            at = (pixels - origin) @ np.linalg.inv(basis)
            index = np.rint(at)
            met = (np.abs(at - index).max(axis=1) < _NEAR) & (distance < reach * step)
            if met.sum() < _FEWEST_SPOTS:
                continue
            design = np.column_stack([index[met], np.ones(int(met.sum()))])
            solution, _, rank, _ = np.linalg.lstsq(design, pixels[met], rcond=None)
            if rank == 3 and abs(np.linalg.det(solution[:2])) > 0:
                basis, origin = solution[:2], solution[2]
        return replace(self, origin=origin, basis=basis), met

    def place(self, point: FloatArray) -> FloatArray:
        """(..., 2) of points, in basis vectors from the origin."""
        return np.asarray((point - self.origin) @ np.linalg.inv(self.basis))

    def distance(self, points: FloatArray) -> FloatArray:
        """(N,) of points (N, 2) from the nearest node, pixels."""
        at = self.place(points)
        return np.asarray(np.hypot(*((at - np.rint(at)) @ self.basis).T))

    def nodes_about(self, point: FloatArray) -> FloatArray:
        """(M, 2) the nodes up to about a basis vector away along each, in pixels."""
        steps = np.array([[h, k] for h in (-1, 0, 1, 2) for k in (-1, 0, 1, 2)])
        index = np.floor(self.place(point)) + steps
        index = index[np.abs(index - self.place(point)).max(axis=1) < 1 + _NEAR]
        return np.asarray(self.origin + index @ self.basis)

    def indices_within(self, view: tuple[float, float, float, float]) -> NDArray[np.int64]:
        """(M, 2) of the nodes in a field x0, y0, x1, y1 of pixels."""
        x0, y0, x1, y1 = view
        corners = self.place(np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        h, k = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij")
        index = np.column_stack([h.ravel(), k.ravel()]).astype(np.int64)
        at = self.origin + index @ self.basis
        return np.asarray(index[((at >= [x0, y0]) & (at <= [x1, y1])).all(axis=1)])

    def symmetries(self) -> tuple[NDArray[np.int64], ...]:
        """The turns and mirrors that leave the lattice as it is, nearly, by which rows of indices are multiplied."""
        metric = self.basis @ self.basis.T
        off = _DISTORTED * np.sqrt(np.linalg.det(metric))
        turns = (np.array(each).reshape(2, 2) for each in product((-1, 0, 1), repeat=4))
        return tuple(
            turn
            for turn in turns
            if abs(round(np.linalg.det(turn))) == 1
            and np.abs(turn @ metric @ turn.T - metric).max() < off
            and not np.array_equal(turn, np.eye(2))
        )


def is_half_node(lattice: SpotLattice, point: FloatArray) -> bool:
    """Whether a point lies half a lattice vector off the nodes."""
    at = lattice.place(point)
    on_half_grid = np.abs(2 * at - np.rint(2 * at)).max() < 2 * _NEAR
    return bool(on_half_grid and np.abs(at - np.rint(at)).max() > 0.5 - _NEAR)


def move_to_lattice_node(
    pixels: FloatArray, strength: FloatArray, center: Center, view: tuple[float, float, float, float]
) -> Center:
    """The centre, or, where it lies half a lattice vector off, the node beside it with the best symmetry.

    Args:
        pixels: (N, 2) of all spots, the direct beam may be among them.
        strength: (N,) their amplitudes, positive.
        center: of inversion symmetry.
        view: x0, y0, x1, y1 of the field recorded.
    """
    weight = weigh_spots(len(pixels), strength)
    at = np.array([center.x, center.y])
    lattice = SpotLattice.of(pixels, weight, at)
    if lattice is None or not is_half_node(lattice, at):
        return center
    # In 484 rendered frames, each seen from its three half nodes, the symmetry was always best at the direct beam.
    best = refine_best_center(pixels, strength, lattice.nodes_about(at), view)
    return center if best is None else best


def _shortest_differences(pixels: FloatArray) -> FloatArray | None:
    """(2, 2) the two shortest vectors between many of the spots that are not along each other."""
    spacing = float(np.median(cKDTree(pixels).query(pixels, k=2)[0][:, 1]))
    difference = (pixels[:, None] - pixels[None]).reshape(-1, 2)
    length = np.hypot(*difference.T)
    half = (length > 0.5 * spacing) & (length < 6 * spacing) & (difference @ [1.0, 1e-3] > 0)
    difference, length = difference[half], length[half]
    if not len(difference):
        return None
    tree, within = cKDTree(difference), 0.08 * spacing
    votes = tree.query_ball_point(difference, within, return_length=True)
    often = np.flatnonzero(votes >= _COMMON * votes.max())
    often = often[np.argsort(length[often], kind="stable")]

    def mean_near(row: int) -> FloatArray:
        """Of a bundle of like differences."""
        return np.asarray(difference[tree.query_ball_point(difference[row], within)].mean(axis=0))

    first = mean_near(often[0])
    across = np.abs(difference[often] @ [-first[1], first[0]])
    sine = across / np.hypot(*first) / length[often]
    steep = np.flatnonzero(sine > _LEAST_SINE)
    return np.array([first, mean_near(often[steep[0]])]) if len(steep) else None
