"""The canonical description of a layer: one choice among its equivalent bases, faces and origins.

A reduced cell is unique only up to the symmetry of its lattice (a hexagonal one has twelve bases, half of them
with the flake turned over), and any atom may be the origin. A smooth score is computed for every choice, and the
highest score wins. Choices with equal scores are related by a symmetry of the crystal and give the same
description, so rounding cannot change the result. A comparison of rounded coordinates would not be stable.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from model.crystal.layer import Layer
from model.crystal.reduction import find_rarest_atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Bases whose vectors exceed the shortest ones by less than this, or miss an obtuse angle by less, are candidates too.
# The number is not round because lattice constants often are, and none should lie on the edge.
LATTICE_TOLERANCE_ANGSTROM = 0.0113
# Coordinates that are negative by less than this are not wrapped to the far side of the cell.
WRAP_TOLERANCE_ANGSTROM = 0.0517
# Atoms whose z (or x) differ by less than this have the same rank in the order of atoms.
LEVEL_TOLERANCE_ANGSTROM = 0.0513

_VECTORS = np.array([v for v in product((-1, 0, 1), repeat=2) if v != (0, 0)])  # (8, 2)
_PAIRS = np.array([(u, v) for u, v in product(_VECTORS, repeat=2) if abs(u[0] * v[1] - u[1] * v[0]) == 1])
_FIRST = np.array([np.flatnonzero((pair[0] == _VECTORS).all(1))[0] for pair in _PAIRS])
_SECOND = np.array([np.flatnonzero((pair[1] == _VECTORS).all(1))[0] for pair in _PAIRS])
_HANDS = _PAIRS[:, 0, 0] * _PAIRS[:, 1, 1] - _PAIRS[:, 0, 1] * _PAIRS[:, 1, 0]  # +1 or -1
# Inverses of the integer matrices, transposed for row vectors: xy_new = xy @ inverse.
_INVERSES = (
    np.stack(
        [np.stack([_PAIRS[:, 1, 1], -_PAIRS[:, 0, 1]], 1), np.stack([-_PAIRS[:, 1, 0], _PAIRS[:, 0, 0]], 1)],
        1,
    )
    * _HANDS[:, None, None]
)

# Plane waves of the score. Their amplitudes and phases have no symmetry.
_WAVES = np.array([(1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2), (2, 1), (1, 2), (3, 1), (2, -3)])
_AMPLITUDES = np.array([1.0, 0.87, 0.69, 0.57, 0.43, 0.39, 0.31, 0.27, 0.23, 0.19]) * np.exp(
    1j * np.array([0.31, 1.27, 2.11, 0.83, 2.71, 1.73, 0.47, 2.39, 1.03, 1.91])
)


def canonicalize_layer(layer: Layer) -> Layer:
    """Return the canonical description of a layer that is given in a Gauss-reduced primitive cell.

    Only proper operations are used: rotations in the plane, half-turns that turn the flake over, and translations.
    A crystal and its mirror image remain different.

    Returns:
        The layer with |a| <= |b| and gamma from 90 to 120 degrees (both within `LATTICE_TOLERANCE_ANGSTROM`), an
        atom of the rarest element at the origin, coordinates inside the cell, and atoms sorted by atomic number,
        z, x, y.
    """
    pairs = _equivalent_bases(layer.lattice)
    hands = _HANDS[pairs]
    if layer.lattice[0, 0] * layer.lattice[1, 1] < layer.lattice[0, 1] * layer.lattice[1, 0]:
        hands = -hands
    xy = layer.xy @ _INVERSES[pairs]  # (K, N, 2)
    z = hands[:, None] * layer.z  # (K, N)
    lattices = _PAIRS[pairs] @ layer.lattice  # (K, 2, 2)
    origins = find_rarest_atoms(layer.numbers)
    scores = _score_choices(layer.numbers, xy, z, origins) + _score_lattices(lattices)[:, None]
    basis, origin = divmod(int(scores.argmax()), len(origins))
    lattice = _orient_lattice(lattices[basis])
    return _wrap_and_sort(lattice, layer.numbers, xy[basis] - xy[basis, origins[origin]], z[basis])


def list_basis_changes() -> IntArray:
    """Return the (B, 2, 2) integer matrices of determinant +-1 that map a reduced basis to bases of similar length."""
    return _PAIRS.copy()


def _equivalent_bases(lattice: FloatArray) -> IntArray:
    """Return indices into `_PAIRS` of the reduced bases with an obtuse or right angle."""
    vectors = _VECTORS @ lattice
    lengths = np.sqrt((vectors * vectors).sum(axis=1))
    a, b = np.sqrt((lattice * lattice).sum(axis=1))
    first, second = vectors[_FIRST], vectors[_SECOND]
    fits = (lengths[_FIRST] <= a + LATTICE_TOLERANCE_ANGSTROM) & (
        lengths[_SECOND] <= b + LATTICE_TOLERANCE_ANGSTROM
    )
    overlap = (first * second).sum(axis=1) / a  # b_x in standard orientation: from -a/2 to 0
    fits &= (overlap <= LATTICE_TOLERANCE_ANGSTROM) & (overlap >= -0.5 * a - LATTICE_TOLERANCE_ANGSTROM)
    return np.flatnonzero(fits)


def _score_choices(numbers: IntArray, xy: FloatArray, z: FloatArray, origins: IntArray) -> FloatArray:
    """Return the (K, M) scores of K bases with M origins: plane waves over atoms weighted by element and height."""
    waves = np.exp(2j * np.pi * (xy @ _WAVES.T))  # (K, N, H)
    kinds = np.sqrt(numbers)
    weights = (kinds / kinds.sum()) * np.exp(0.1 * z)  # (K, N)
    amplitudes = (weights[:, None, :] @ waves)[:, 0] * _AMPLITUDES  # (K, H)
    scores: FloatArray = (waves[:, origins].conj() * amplitudes[:, None]).sum(axis=2).real
    return scores


def _score_lattices(lattices: FloatArray) -> FloatArray:
    """Return (K,) scores that prefer shorter vectors, then obtuse angles, where the atoms do not decide."""
    squares = (lattices * lattices).sum(axis=2)
    products = (lattices[:, 0] * lattices[:, 1]).sum(axis=1)
    preference: FloatArray = (squares[:, 1] - squares[:, 0] - 1.7 * products) / squares.mean(axis=1)
    return preference


def _orient_lattice(lattice: FloatArray) -> FloatArray:
    """Return the lattice with a along +x and b_y > 0; a left-handed basis becomes right-handed."""
    (ax, ay), (bx, by) = lattice.tolist()
    length = (ax * ax + ay * ay) ** 0.5
    return np.array([[length, 0.0], [(ax * bx + ay * by) / length, abs(ax * by - ay * bx) / length]])


def _wrap_and_sort(lattice: FloatArray, numbers: IntArray, xy: FloatArray, z: FloatArray) -> Layer:
    margins = WRAP_TOLERANCE_ANGSTROM / np.sqrt((lattice * lattice).sum(axis=1))
    xy = xy - np.floor(xy + margins)
    x = xy[:, 0]
    order = np.lexsort((x, xy[:, 1], _rank_levels(x * lattice[0, 0]), _rank_levels(z), numbers))
    z = z[order]
    return Layer(lattice, numbers[order], xy[order], z - 0.5 * (z.max() + z.min()))


def _rank_levels(values: FloatArray) -> IntArray:
    """Return the (N,) ranks of the groups of close values; a gap separates two groups."""
    order = values.argsort()
    levels = np.empty(len(values), dtype=np.int64)
    levels[order[0]] = 0
    levels[order[1:]] = np.cumsum(np.diff(values[order]) > LEVEL_TOLERANCE_ANGSTROM)
    return levels
