"""Layer group of a layer, and space group of the same layer in a box, from spglib."""

from dataclasses import dataclass

import numpy as np
import spglib
import spglib.error
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.operations import SYMPREC_ANGSTROM
from model.errors import CrystalError

# spglib's documented switch to exceptions; its next major version always raises them.
if hasattr(spglib.error, "OLD_ERROR_HANDLING"):
    spglib.error.OLD_ERROR_HANDLING = False

FloatArray = NDArray[np.float64]

_BOX_VACUUM_ANGSTROM = 20.0


@dataclass(frozen=True)
class Symmetry:
    """The symmetry groups of a layer.

    Attributes:
        layer_group: number 1 to 80 (International Tables, volume E).
        layer_group_symbol: its short Hermann-Mauguin symbol, such as "p-6m2".
        space_group: number 1 to 230 of the layer repeated along its normal, with vacuum.
        space_group_symbol: its short Hermann-Mauguin symbol, such as "P-6m2".
    """

    layer_group: int
    layer_group_symbol: str
    space_group: int
    space_group_symbol: str


def determine_symmetry(crystal: Crystal, symprec: float = SYMPREC_ANGSTROM) -> Symmetry:
    """Determine the layer group and the space group of a layer; CrystalError if spglib finds no symmetry.

    Args:
        crystal: the layer.
        symprec: largest distance of an atom from its symmetric position, angstrom.
    """
    lattice, frac = _place_in_box(crystal)
    cell = (lattice.tolist(), frac.tolist(), crystal.numbers.tolist())
    try:
        layer = spglib.get_layergroup(cell, aperiodic_dir=2, symprec=symprec)
        space = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except spglib.SpglibError as error:
        raise CrystalError(
            f"No symmetry found for {crystal.id} within {symprec} angstrom: {error}"
        ) from error
    if layer is None or space is None:
        raise CrystalError(
            f"No symmetry found for {crystal.id} within {symprec} angstrom; use another tolerance."
        )
    return Symmetry(int(layer.number), str(layer.international), int(space.number), str(space.international))


def _place_in_box(crystal: Crystal) -> tuple[FloatArray, FloatArray]:
    """Return the (3, 3) lattice with vacuum and the (N, 3) fractional coordinates."""
    height = crystal.thickness + _BOX_VACUUM_ANGSTROM
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = crystal.lattice, height
    return lattice, (crystal.positions + np.array([0.0, 0.0, 0.5 * height])) @ np.linalg.inv(lattice)
