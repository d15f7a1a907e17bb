"""Reference materials whose patterns determine the scale of a camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """A reference material.

    Attributes:
        name: its name in messages.
        a_angstrom: lattice constant at room temperature.
        squares: h^2 + k^2 + l^2 of the powder rings of a cubic crystal; empty for a hexagonal layer.
    """

    name: str
    a_angstrom: float
    squares: tuple[int, ...] = ()

    @property
    def is_layer(self) -> bool:
        """Whether the material is a single layer with spots, not a powder with rings."""
        return not self.squares

    def compute_rings(self) -> FloatArray:
        """Return |q| of the powder rings, 1/angstrom."""
        return np.sqrt(np.array(self.squares, dtype=np.float64)) / self.a_angstrom


_FCC = (3, 4, 8, 11, 12, 16, 19, 20, 24)
_DIAMOND = (3, 8, 11, 16, 19, 24)
# Lattice constants of the metals: Swanson & Tatge, NBS Circular 539 I (1953); of silicon: Straumanis & Aka, J. Appl.
# Phys. 23, 330 (1952); of the layers, those of the bulk crystals: Wyckoff, Crystal Structures; Schutte et al., J. Solid
# State Chem. 70, 207 (1987); Wildervanck & Jellinek, Z. anorg. allg. Chem. 328, 309 (1964).
MATERIALS = {
    "Au": Material("gold", 4.0786, _FCC),
    "Al": Material("aluminum", 4.0494, _FCC),
    "Pt": Material("platinum", 3.9231, _FCC),
    "Ag": Material("silver", 4.0862, _FCC),
    "Si": Material("silicon", 5.4310, _DIAMOND),
    "graphene": Material("graphene", 2.461),
    "BN": Material("boron nitride", 2.504),
    "MoS2": Material("molybdenum disulfide", 3.161),
    "WS2": Material("tungsten disulfide", 3.153),
    "MoSe2": Material("molybdenum diselenide", 3.289),
    "WSe2": Material("tungsten diselenide", 3.282),
}
