"""Isolation of one layer: identical layers are reduced to one; molecules, chains and different layers are rejected."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.layer import MIN_VACUUM_ANGSTROM, Layer
from model.crystal.reduction import TRANSLATION_TOLERANCE_ANGSTROM, find_rarest_atoms
from model.crystal.site_finder import SiteFinder
from model.errors import CrystalError

FloatArray = NDArray[np.float64]

# Pores in the layers of 2DMatPedia measure up to 10.24 angstrom (GaAs). The one exception, Sn3Bi4 (17.9), consists of
# atoms scattered over a cell of 27 angstrom.
MIN_BOX_GAP_ANGSTROM = 11.0

# Seven crystals of 2DMatPedia (NaPb2, KSn2, Hf2O7, ...) are slabs of different parts, 5.1 to 10.2 angstrom apart. The
# beam passes through the whole slab, so it is kept as one layer, as in the database.
MIN_LAYER_SEPARATION_ANGSTROM = 12.0

# Lattice directions, as columns, across which the reduced cell of a chain or a molecule has a gap.
_DIRECTIONS = np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, -1.0]])


def isolate_layer(layer: Layer) -> Layer:
    """Return the slab, or one of its layers if gaps separate it into identical layers.

    Equal layers may be shifted in the plane but not rotated, because rotation changes the pattern.

    Raises:
        CrystalError: different layers are `MIN_LAYER_SEPARATION_ANGSTROM` or more apart.
    """
    order = layer.z.argsort()
    gaps = np.diff(layer.z[order])
    if not (gaps >= MIN_VACUUM_ANGSTROM).any():
        return layer
    cuts = np.flatnonzero(gaps >= MIN_VACUUM_ANGSTROM) + 1
    first, *others = (_take_atoms(layer, atoms) for atoms in np.split(order, cuts))
    if all(_is_same_layer(first, other) for other in others):
        return first
    if gaps.max() >= MIN_LAYER_SEPARATION_ANGSTROM:
        raise CrystalError(
            f"The cell contains {len(cuts) + 1} different layers, up to {gaps.max():.2f} angstrom apart; keep one."
        )
    return layer


def _take_atoms(layer: Layer, atoms: NDArray[np.intp]) -> Layer:
    z = layer.z[atoms]
    return Layer(layer.lattice, layer.numbers[atoms], layer.xy[atoms], z - 0.5 * (z.max() + z.min()))


def _is_same_layer(one: Layer, other: Layer) -> bool:
    """Return whether an in-plane shift maps each atom onto an equal atom of the other layer, within tolerance."""
    if not np.array_equal(np.sort(one.numbers), np.sort(other.numbers)):
        return False
    finder = SiteFinder(other)
    start = one.xy[find_rarest_atoms(one.numbers)[0]]
    for atom in find_rarest_atoms(other.numbers):
        partner = finder.find_nearest(
            one.numbers, one.xy + other.xy[atom] - start, one.z, TRANSLATION_TOLERANCE_ANGSTROM
        )
        if partner is not None and len(set(partner.tolist())) == len(partner):
            return True
    return False


def check_extends_in_plane(layer: Layer) -> None:
    """Check that a layer in its reduced cell extends in both directions of the plane.

    Raises:
        CrystalError: a gap of `MIN_BOX_GAP_ANGSTROM` or more runs along a lattice direction.
    """
    if np.linalg.norm(layer.lattice[1]) < MIN_BOX_GAP_ANGSTROM:
        return
    along = layer.xy @ _DIRECTIONS
    ordered = np.sort(along - np.floor(along), axis=0)
    gaps = np.diff(ordered, axis=0, append=ordered[:1] + 1.0).max(axis=0)
    spacings = 1.0 / np.linalg.norm(np.linalg.inv(layer.lattice) @ _DIRECTIONS, axis=0)
    widest = float((gaps * spacings).max())
    if widest >= MIN_BOX_GAP_ANGSTROM:
        raise CrystalError(
            f"A molecule or chain in a box, not a layer: a second axis has a gap of {widest:.2f} angstrom."
        )
