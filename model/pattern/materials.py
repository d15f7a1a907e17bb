"""Materials whose patterns tell a camera's scale."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """A reference.

    Attributes:
        name: for people.
        a_angstrom: its lattice constant at room temperature.
        squares: h^2 + k^2 + l^2 of the rings of a cubic powder; empty for a hexagonal layer.
    """

    name: str
    a_angstrom: float
    squares: tuple[int, ...] = ()

    @property
    def is_layer(self) -> bool:
        """Whether it shows spots of a layer, not rings."""
        return not self.squares

    def rings(self) -> FloatArray:
        """|q| of the rings, 1/angstrom."""
        return np.sqrt(np.array(self.squares, dtype=np.float64)) / self.a_angstrom


_FCC = (3, 4, 8, 11, 12, 16, 19, 20, 24)
_DIAMOND = (3, 8, 11, 16, 19, 24)
# Lattice constants: Swanson & Tatge, NBS Circular 539 I (1953), of the metals; Straumanis & Aka, J. Appl. Phys. 23, 330
# (1952), of silicon; of the layers, those of their bulk crystals (Wyckoff, Crystal Structures; Schutte et al., J. Solid
# State Chem. 70, 207, 1987; Wildervanck & Jellinek, Z. anorg. allg. Chem. 328, 309, 1964).
MATERIALS = {
    "Au": Material("gold", 4.0786, _FCC),
    "Al": Material("aluminium", 4.0494, _FCC),
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
