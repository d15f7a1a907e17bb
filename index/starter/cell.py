"""The plane cell that a prototype draws: lattice constants in the plane, atoms with their heights."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from ase.data import atomic_numbers

from model.crystal.crystal import Crystal

SOURCE = "starter"
# rms error of the logarithm of the lengths: measured, of bulk crystals mostly, and written from the literature.
CELL_SIGMA = 0.005
# More than any layer here is thick, so that the gap is unmistakably vacuum.
BOX_HEIGHT_ANGSTROM = 50.0


@dataclass(frozen=True)
class Site:
    """An atom: element symbol, fractional x and y, height z in angstrom."""

    element: str
    x: float
    y: float
    z: float

    def __post_init__(self) -> None:
        if atomic_numbers.get(self.element, 0) < 1:
            raise ValueError(f"{self.element!r} is no chemical element")


@dataclass(frozen=True)
class Cell:
    """A layer in its conventional plane cell.

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
            raise ValueError(f"no plane cell has a = {self.a}, b = {self.b}, gamma = {self.gamma}")
        if not self.sites:
            raise ValueError("a cell needs atoms")

    def crystal(self, name: str) -> Crystal:
        """The layer as a `Crystal` with id "starter/NAME".

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
