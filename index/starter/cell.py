"""The cell of a prototype: in-plane lattice constants, and atoms with their heights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from ase.data import atomic_numbers

from model.crystal.crystal import Crystal

# Parameters of a prototype, by name.
Parameters = Mapping[str, float | Sequence[float]]

SOURCE = "starter"
# rms error of the logarithm of the cell lengths, which are measured, mostly for bulk crystals.
CELL_SIGMA = 0.005
# Thicker than any layer here, so that the gap is clearly vacuum.
BOX_HEIGHT_ANGSTROM = 50.0


@dataclass(frozen=True)
class Site:
    """An atom: element symbol, fractional x and y, and height z in angstrom."""

    element: str
    x: float
    y: float
    z: float

    def __post_init__(self) -> None:
        if atomic_numbers.get(self.element, 0) < 1:
            raise ValueError(f"{self.element!r} is not a chemical element.")


@dataclass(frozen=True)
class Cell:
    """A layer in its conventional in-plane cell.

    Attributes:
        a, b: lattice constants, angstrom.
        gamma: angle between them, degrees.
        sites: the atoms.
    """

    a: float
    b: float
    gamma: float
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0 and 0 < self.gamma < 180):
            raise ValueError(f"A cell cannot have a = {self.a}, b = {self.b}, gamma = {self.gamma}.")
        if not self.sites:
            raise ValueError("A cell needs atoms.")

    def make_crystal(self, name: str) -> Crystal:
        """Return the layer as a `Crystal` with the id "starter/NAME".

        Raises:
            CrystalError: atoms overlap.
        """
        gamma = radians(self.gamma)
        lattice = np.array(
            [
                [self.a, 0.0, 0.0],
                [self.b * cos(gamma), self.b * sin(gamma), 0.0],
                [0.0, 0.0, BOX_HEIGHT_ANGSTROM],
            ]
        )
        numbers = [atomic_numbers[site.element] for site in self.sites]
        frac = [(site.x, site.y, 0.5 + site.z / BOX_HEIGHT_ANGSTROM) for site in self.sites]
        return Crystal.from_cell(lattice, numbers, frac, id=f"{SOURCE}/{name}", source=SOURCE)
