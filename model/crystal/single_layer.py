"""One layer: equal layers above each other are one; far different ones and what is no layer at all are refused."""

import numpy as np
from numpy.typing import NDArray

from model.crystal.layer import MIN_VACUUM_ANGSTROM, Layer
from model.crystal.reduction import TRANSLATION_TOLERANCE_ANGSTROM, find_rarest_atoms
from model.errors import CrystalError

FloatArray = NDArray[np.float64]

# Pores across which 2DMatPedia's layers are empty reach 10.24 angstrom (GaAs); beyond it only has Sn3Bi4 (17.9),
# atoms scattered over a cell of 27 angstrom.
MIN_BOX_GAP_ANGSTROM = 11.0

# Seven crystals of 2DMatPedia (NaPb2, KSn2, Hf2O7, ...) are slabs of different parts with 5.1 to 10.2 angstrom between
# them. The beam passes through all of a slab, so they stay what their database says that they are.
MIN_LAYER_SEPARATION_ANGSTROM = 12.0

# Lattice directions, as columns, across which a chain or a molecule leaves its reduced cell empty.
_DIRECTIONS = np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, -1.0]])


def isolate_layer(layer: Layer) -> Layer:
    """The slab itself, or the first of the layers that empty gaps cut it into if all are the same.

    Equal layers may be shifted in the plane, not turned: the pattern of turned ones is another.

    Raises:
        CrystalError: different layers with `MIN_LAYER_SEPARATION_ANGSTROM` or more between them.
    """
    order = layer.z.argsort()
    gaps = np.diff(layer.z[order])
    if not (gaps >= MIN_VACUUM_ANGSTROM).any():
        return layer
    cuts = np.flatnonzero(gaps >= MIN_VACUUM_ANGSTROM) + 1
    first, *others = (_part(layer, atoms) for atoms in np.split(order, cuts))
    if all(_same_layer(first, other) for other in others):
        return first
    if gaps.max() >= MIN_LAYER_SEPARATION_ANGSTROM:
        raise CrystalError(
            f"the cell holds {len(cuts) + 1} layers with up to {gaps.max():.2f} angstrom between them; give one"
        )
    return layer


def _part(layer: Layer, atoms: NDArray[np.intp]) -> Layer:
    z = layer.z[atoms]
    return Layer(layer.lattice, layer.numbers[atoms], layer.xy[atoms], z - 0.5 * (z.max() + z.min()))


def _same_layer(one: Layer, other: Layer) -> bool:
    """Whether a shift in the plane lays each atom of one within the tolerance of an equal one of the other."""
    if not np.array_equal(np.sort(one.numbers), np.sort(other.numbers)):
        return False
    unlike = one.numbers[:, None] != other.numbers
    rise = one.z[:, None] - other.z
    start = one.xy[find_rarest_atoms(one.numbers)[0]]
    return any(
        _coincide(one, other, other.xy[atom] - start, rise, unlike)
        for atom in find_rarest_atoms(other.numbers)
    )


def _coincide(
    one: Layer, other: Layer, shift: FloatArray, rise: FloatArray, unlike: NDArray[np.bool_]
) -> bool:
    apart = other.xy - one.xy[:, None] - shift
    apart = (apart - np.round(apart)) @ one.lattice  # (N, N, 2) angstrom
    distance = np.where(unlike, np.inf, np.sqrt((apart * apart).sum(axis=-1) + rise * rise))
    partner = distance.argmin(axis=1)
    nearest = distance[np.arange(len(partner)), partner]
    one_to_one = len(set(partner.tolist())) == len(partner)
    return one_to_one and float(nearest.max()) <= TRANSLATION_TOLERANCE_ANGSTROM


def check_extends_in_plane(layer: Layer) -> None:
    """A layer in its reduced cell extends both ways in the plane; else a CrystalError.

    Raises:
        CrystalError: an empty strip of `MIN_BOX_GAP_ANGSTROM` or more runs along a lattice direction.
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
            f"a molecule or chain in a box, not a layer: {widest:.2f} angstrom are empty along a second axis"
        )
