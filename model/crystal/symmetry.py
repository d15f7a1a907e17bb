"""The symmetry of a layer, by spglib: its layer group, and the space group of the same layer in a box."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import spglib
import spglib.error
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import CrystalError

# spglib's documented way to have failures raised, which its next major version does always.
if hasattr(spglib.error, "OLD_ERROR_HANDLING"):
    spglib.error.OLD_ERROR_HANDLING = False

FloatArray = NDArray[np.float64]

SYMPREC_ANGSTROM = 0.05
_BOX_VACUUM_ANGSTROM = 20.0
_KNOWN_SHIFTS: "WeakKeyDictionary[Crystal, FloatArray]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Symmetry:
    """The groups of one layer.

    Attributes:
        layer_group: number 1 to 80 (International Tables, volume E).
        layer_group_symbol: its short Hermann-Mauguin symbol, such as "p-6m2".
        space_group: number 1 to 230 of the layer repeated along its normal with vacuum between.
        space_group_symbol: its short Hermann-Mauguin symbol, such as "P-6m2".
    """

    layer_group: int
    layer_group_symbol: str
    space_group: int
    space_group_symbol: str


def symmetry_of(crystal: Crystal, symprec: float = SYMPREC_ANGSTROM) -> Symmetry:
    """Layer group and space group.

    Args:
        crystal: the layer.
        symprec: how far atoms may be from their symmetric places, angstrom.

    Raises:
        CrystalError: spglib finds none at this tolerance.
    """
    lattice, frac = _boxed(crystal)
    cell = (lattice.tolist(), frac.tolist(), crystal.numbers.tolist())
    try:
        layer = spglib.get_layergroup(cell, aperiodic_dir=2, symprec=symprec)
        space = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except spglib.SpglibError as error:
        raise CrystalError(
            f"no symmetry found for {crystal.id} within {symprec} angstrom: {error}"
        ) from error
    if layer is None or space is None:
        raise CrystalError(
            f"no symmetry found for {crystal.id} within {symprec} angstrom: use another tolerance"
        )
    return Symmetry(int(layer.number), str(layer.international), int(space.number), str(space.international))


def symmetric_shifts(crystal: Crystal) -> FloatArray:
    """(2 N, 2 N) projector of the atoms' shifts along x and y on those that keep the symmetry.

    Such a shift is the mean of what all operations of the layer group make of it. Where none is found, all are kept.
    It is remembered as long as the crystal is.

    Args:
        crystal: the layer of N atoms, good to `SYMPREC_ANGSTROM`.
    """
    known = _KNOWN_SHIFTS.get(crystal)
    if known is None:
        known = _mean_of_operations(crystal)
        known.setflags(write=False)
        _KNOWN_SHIFTS[crystal] = known
    return known


def _mean_of_operations(crystal: Crystal) -> FloatArray:
    lattice, frac = _boxed(crystal)
    count = len(frac)
    try:
        found = spglib.get_symmetry(
            (lattice.tolist(), frac.tolist(), crystal.numbers.tolist()), symprec=SYMPREC_ANGSTROM
        )
    except spglib.SpglibError:
        found = None
    if found is None:
        return np.eye(2 * count)
    in_plane = ~(found["rotations"][:, 2, :2].any(axis=1) | found["rotations"][:, :2, 2].any(axis=1))
    rotations, translations = found["rotations"][in_plane], found["translations"][in_plane]
    # which atom each operation takes each to
    off = (frac @ rotations.transpose(0, 2, 1) + translations[:, None])[:, :, None] - frac
    off = (off - np.round(off)) @ lattice
    target = np.einsum("snmd,snmd->snm", off, off).argmin(axis=2)
    taken = (target[:, :, None] == np.arange(count)).astype(np.float64)
    turns = (lattice.T @ rotations @ np.linalg.inv(lattice.T))[:, :2, :2]
    mean = np.tensordot(taken, turns, axes=(0, 0)) / len(turns)
    return np.asarray(mean.transpose(1, 2, 0, 3).reshape(2 * count, 2 * count))


def _boxed(crystal: Crystal) -> tuple[FloatArray, FloatArray]:
    """(3, 3) lattice with vacuum and (N, 3) fractional coordinates."""
    height = crystal.thickness + _BOX_VACUUM_ANGSTROM
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = crystal.lattice, height
    return lattice, (crystal.positions + np.array([0.0, 0.0, 0.5 * height])) @ np.linalg.inv(lattice)
