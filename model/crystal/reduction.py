"""The primitive cell of a layer: translations that map the crystal onto itself, and the Gauss-reduced basis."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.layer import Layer
from model.crystal.site_finder import SiteFinder

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Sites within this distance are equal under a translation; relaxed supercells scatter by less.
TRANSLATION_TOLERANCE_ANGSTROM = 0.05


def reduce_lattice(lattice: FloatArray) -> tuple[FloatArray, IntArray]:
    """Reduce a plane lattice by the Lagrange-Gauss algorithm.

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


def find_primitive_layer(layer: Layer, tolerance: float = TRANSLATION_TOLERANCE_ANGSTROM) -> Layer:
    """Return the layer in a Gauss-reduced primitive cell; atoms that fold onto each other are averaged.

    Args:
        layer: the layer in any cell.
        tolerance: largest distance of an atom from its translated image, angstrom.

    Returns:
        The layer in the smallest cell that repeats it within the tolerance.
    """
    reduced = _reduce_basis(layer)
    while _may_be_supercell(reduced.numbers) and tolerance > 1e-3:
        translations, partners = _find_translations(reduced, tolerance)
        if len(translations) == 1:
            break
        if _is_group(translations, partners, reduced, tolerance):
            return _fold(reduced, np.round(translations * len(translations)) / len(translations), partners)
        tolerance *= 0.5  # approximate translations that form no lattice: require better ones
    return reduced


def _reduce_basis(layer: Layer) -> Layer:
    lattice, matrix = reduce_lattice(layer.lattice)
    (p, q), (r, s) = matrix.tolist()
    determinant = p * s - q * r
    inverse = np.array([[s, -q], [-r, p]], dtype=np.float64) * determinant
    return Layer(lattice, layer.numbers, layer.xy @ inverse, layer.z)


def _may_be_supercell(numbers: IntArray) -> bool:
    counts = np.bincount(numbers)
    return bool(np.gcd.reduce(counts[counts > 0]) > 1)


def _find_translations(layer: Layer, tolerance: float) -> tuple[FloatArray, IntArray]:
    """Return (T, 2) fractional translations, zero first, and the (T, N) atom onto which each atom is mapped.

    A translation is the mean over all atoms, so that it does not depend on their order.
    """
    numbers, xy, z = layer.numbers, layer.xy, layer.z
    rare = find_rarest_atoms(numbers)
    rare = rare[np.abs(z[rare] - z[rare[0]]) < 2.0 * tolerance]
    found, partners = [np.zeros(2)], [np.arange(len(numbers))]
    finder = SiteFinder(layer)
    for atom in rare[1:]:
        shift = xy[atom] - xy[rare[0]]
        partner = finder.find_nearest(numbers, xy + shift, z, 2.5 * tolerance)
        if partner is None or np.abs(z[partner] - z).max() >= tolerance:
            continue
        offsets = xy[partner] - xy - shift
        offsets -= np.round(offsets)
        if np.linalg.norm(offsets @ layer.lattice, axis=1).max() > 2.0 * tolerance:
            continue
        mean = offsets.mean(axis=0)
        if np.linalg.norm((offsets - mean) @ layer.lattice, axis=1).max() < tolerance:
            found.append(shift + mean)
            partners.append(partner)
    return np.array(found), np.array(partners)


def find_rarest_atoms(numbers: IntArray) -> IntArray:
    """Return the indices of the atoms of the rarest element; of equally rare ones, the lightest."""
    counts = np.bincount(numbers)
    counts[counts == 0] = len(numbers) + 1
    return np.flatnonzero(numbers == counts.argmin())


def _is_group(translations: FloatArray, partners: IntArray, layer: Layer, tolerance: float) -> bool:
    """Return whether T translations form a group, with coordinates k/T, and permute the atoms."""
    order = len(translations)
    exact = np.round(translations * order)
    if np.linalg.norm((translations - exact / order) @ layer.lattice, axis=1).max() > tolerance:
        return False
    whole, weights = exact.astype(np.int64) % order, np.array([order, 1])
    is_member = np.zeros(order * order, dtype=bool)
    is_member[whole @ weights] = True
    if is_member.sum() < order or not all(
        is_member[(whole + each) % order @ weights].all() for each in whole
    ):
        return False
    return bool((np.sort(partners, axis=1) == np.arange(partners.shape[1])).all())


def _fold(layer: Layer, translations: FloatArray, partners: IntArray) -> Layer:
    """Return the layer with one atom for each orbit of the translations, at the mean of its images."""
    lattice = _find_shortest_basis(translations, layer.lattice)
    keep = np.flatnonzero(partners.min(axis=0) == np.arange(partners.shape[1]))
    images = layer.xy[partners[:, keep]] - translations[:, None]  # (T, N/T, 2)
    offsets = images - images[0]
    xy = images[0] + (offsets - np.round(offsets)).mean(axis=0)
    z = layer.z[partners[:, keep]].mean(axis=0)
    xy = xy @ layer.lattice @ np.linalg.inv(lattice)
    return _reduce_basis(Layer(lattice, layer.numbers[keep], xy, z))


def _find_shortest_basis(translations: FloatArray, lattice: FloatArray) -> FloatArray:
    """Return the two shortest independent vectors of the lattice that the cell and its translations span."""
    whole = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=np.float64)
    vectors = ((translations - np.round(translations))[:, None] + whole).reshape(-1, 2) @ lattice
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = vectors[np.argsort(lengths)][np.sort(lengths) > 1e-6]
    a = vectors[0]
    across = np.abs(a[0] * vectors[:, 1] - a[1] * vectors[:, 0]) / np.linalg.norm(a)
    return np.array([a, vectors[np.flatnonzero(across > 1e-6)[0]]])
