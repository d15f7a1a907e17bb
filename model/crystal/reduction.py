"""The primitive cell of a layer: translations that map the crystal onto itself, and Gauss's reduced basis."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.layer import Layer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Two sites this close are the same under a translation; supercells relaxed by hand scatter by less.
TRANSLATION_TOLERANCE_ANGSTROM = 0.05


def gauss_reduce(lattice: FloatArray) -> tuple[FloatArray, IntArray]:
    """Lagrange-Gauss reduction of a plane lattice.

    Args:
        lattice: (2, 2) rows are the basis vectors.

    Returns:
        The reduced basis (|a| <= |b|, |a.b| <= |a|^2 / 2) and the (2, 2) integer matrix M of determinant +-1
        with reduced = M @ lattice.
    """
    (ax, ay), (bx, by) = lattice.tolist()
    m = [1, 0]
    n = [0, 1]
    while True:
        if ax * ax + ay * ay > (bx * bx + by * by) * (1.0 + 1e-9):
            ax, ay, bx, by, m, n = bx, by, ax, ay, n, m
        steps = round((ax * bx + ay * by) / (ax * ax + ay * ay) * (1.0 - 1e-9))
        if steps == 0:
            return np.array([[ax, ay], [bx, by]]), np.array([m, n])
        bx, by = bx - steps * ax, by - steps * ay
        n = [n[0] - steps * m[0], n[1] - steps * m[1]]


def primitive_layer(layer: Layer) -> Layer:
    """The layer in a Gauss-reduced primitive cell; atoms that fold onto each other are averaged.

    Args:
        layer: the layer in any cell.

    Returns:
        The same layer, with the smallest cell that repeats it within `TRANSLATION_TOLERANCE_ANGSTROM`.
    """
    tolerance = TRANSLATION_TOLERANCE_ANGSTROM
    reduced = _in_reduced_basis(layer)
    while _may_be_supercell(reduced.numbers) and tolerance > 1e-3:
        translations, partners = _translations(reduced, tolerance)
        if len(translations) == 1:
            break
        folded = _fold(reduced, translations, partners)
        if folded is not None:
            return folded
        tolerance *= 0.5  # near-translations that do not close into a lattice: ask for better ones
    return reduced


def _in_reduced_basis(layer: Layer) -> Layer:
    lattice, matrix = gauss_reduce(layer.lattice)
    (p, q), (r, s) = matrix.tolist()
    determinant = p * s - q * r
    inverse = np.array([[s, -q], [-r, p]], dtype=np.float64) * determinant
    return Layer(lattice, layer.numbers, layer.xy @ inverse, layer.z)


def _may_be_supercell(numbers: IntArray) -> bool:
    counts = np.bincount(numbers)
    return bool(np.gcd.reduce(counts[counts > 0]) > 1)


def _translations(layer: Layer, tolerance: float) -> tuple[FloatArray, IntArray]:
    """(T, 2) fractional translations, the zero one first, and (T, N) the atom that each atom goes to."""
    numbers, xy, z = layer.numbers, layer.xy, layer.z
    counts = np.bincount(numbers)
    counts[counts == 0] = len(numbers) + 1
    rare = np.flatnonzero(numbers == counts.argmin())
    rare = rare[np.abs(z[rare] - z[rare[0]]) < tolerance]
    found, partners = [np.zeros(2)], [np.arange(len(numbers))]
    alike = (numbers[:, None] == numbers) & (np.abs(z[:, None] - z) < tolerance)  # (N, N)
    difference = xy[:, None] - xy  # (N, N, 2)
    for atom in rare[1:]:
        shift = xy[atom] - xy[rare[0]]
        offset = difference + shift
        offset -= np.round(offset)
        distance = np.linalg.norm(offset @ layer.lattice, axis=-1)
        distance[~alike] = np.inf
        partner = distance.argmin(axis=1)
        if distance[np.arange(len(numbers)), partner].max() < tolerance:
            found.append(shift)
            partners.append(partner)
    return np.array(found), np.array(partners)


def _fold(layer: Layer, translations: FloatArray, partners: IntArray) -> Layer | None:
    """The primitive cell that the translations make, or None where they are no group."""
    lattice = _shortest_basis(translations, layer.lattice)
    cells = abs(np.linalg.det(layer.lattice) / np.linalg.det(lattice))
    if abs(cells - len(translations)) > 1e-2 * len(translations):
        return None
    if (np.sort(partners, axis=1) != np.arange(len(layer.numbers))).any():
        return None
    shift = layer.xy[partners] - layer.xy - translations[:, None]  # (T, N, 2), near whole cells
    averaged = layer.xy + (shift - np.round(shift)).mean(axis=0)
    keep = np.flatnonzero(partners.min(axis=0) == np.arange(len(layer.numbers)))
    if len(keep) * len(translations) != len(layer.numbers):
        return None
    xy = averaged[keep] @ layer.lattice @ np.linalg.inv(lattice)
    return _in_reduced_basis(Layer(lattice, layer.numbers[keep], xy, layer.z[partners].mean(axis=0)[keep]))


def _shortest_basis(translations: FloatArray, lattice: FloatArray) -> FloatArray:
    """The two shortest independent vectors of the lattice that the cell and its inner translations span."""
    whole = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=np.float64)
    inner = translations - np.round(translations)
    vectors = ((inner[:, None] + whole).reshape(-1, 2)) @ lattice
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = vectors[(lengths > 0.3)][np.argsort(lengths[lengths > 0.3])]
    a = vectors[0]
    across = np.abs(a[0] * vectors[:, 1] - a[1] * vectors[:, 0]) / np.linalg.norm(a)
    b = vectors[np.flatnonzero(across > 0.3)[0]]
    return np.array([a, b])
