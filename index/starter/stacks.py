"""Prototypes that are stacks of atomic planes, each with one atom in a hexagonal cell.

The atom of a plane is at one of the three sites of close packing, A (0, 0), B (1/3, 2/3) or C (2/3, 1/3), so that the
letters and the distances between planes determine the stack. Planes on different letters are offset by a / sqrt(3),
planes on the same letter are directly above one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from index.starter.cell import Cell, Parameters, Site

SITES = {"A": (0.0, 0.0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
# A planar bond stated to a thousandth may be shorter than the offset that it spans by this much.
ROUNDING_ANGSTROM = 0.005


@dataclass(frozen=True)
class Stack:
    """A stack of planes, bottom to top.

    Attributes:
        layer_group: number 1 to 80.
        roles: names of the elements, in the order in which an entry lists them.
        planes: role and site of each plane, such as "X@C M@A X@B".

    Parameters of an entry: `a` (angstrom) and `bonds`, the distances between neighboring atoms of consecutive
    planes, angstrom, from the bottom up. Where the upper half repeats the lower one, half of them suffices.
    """

    layer_group: int
    roles: tuple[str, ...]
    planes: str

    @property
    def parameters(self) -> frozenset[str]:
        """The parameters that an entry must give."""
        return frozenset({"a", "bonds"})

    def make_cell(self, elements: Sequence[str], values: Parameters) -> Cell:
        """Return the cell with these elements.

        Raises:
            ValueError: a bond is shorter than the offset that it spans, or the number of bonds is wrong.
        """
        a, bonds = values["a"], values["bonds"]
        if not isinstance(a, float) or not isinstance(bonds, Sequence):
            raise ValueError("a must be a decimal number, and bonds a list of them.")
        planes = [plane.split("@") for plane in self.planes.split()]
        element = dict(zip(self.roles, elements, strict=True))
        heights = _compute_heights(
            a, _complete_bonds(bonds, len(planes) - 1), [letter for _, letter in planes]
        )
        sites = tuple(
            Site(element[role], *SITES[letter], z) for (role, letter), z in zip(planes, heights, strict=True)
        )
        return Cell(a, a, 120.0, sites)


def _complete_bonds(bonds: Sequence[float], count: int) -> list[float]:
    if len(bonds) == count:
        return list(bonds)
    if len(bonds) == (count + 1) // 2:
        return [*bonds, *list(bonds)[: count // 2][::-1]]
    raise ValueError(f"{count} bonds are needed, or the lower half of them, not {len(bonds)}.")


def _compute_heights(a: float, bonds: Sequence[float], letters: Sequence[str]) -> list[float]:
    heights = [0.0]
    for bond, low, high in zip(bonds, letters, letters[1:], strict=False):
        offset = 0.0 if low == high else a / sqrt(3)
        if bond < offset - ROUNDING_ANGSTROM:
            raise ValueError(f"A bond of {bond} angstrom cannot span planes offset by {offset:.3f}.")
        heights.append(heights[-1] + sqrt(max(bond**2 - offset**2, 0.0)))
    middle = 0.5 * heights[-1]
    return [height - middle for height in heights]


STACKS: dict[str, Stack] = {
    "buckled honeycomb": Stack(72, ("M",), "M@A M@B"),
    "1H": Stack(78, ("M", "X"), "X@B M@A X@B"),
    "1T": Stack(72, ("M", "X"), "X@C M@A X@B"),
    "Janus 1H": Stack(69, ("M", "X", "Y"), "Y@B M@A X@B"),
    "Janus 1T": Stack(69, ("M", "X", "Y"), "Y@C M@A X@B"),
    "GaSe": Stack(78, ("M", "X"), "X@B M@A M@A X@B"),
    "double honeycomb": Stack(72, ("M", "X"), "X@A M@B M@A X@B"),
    "graphane": Stack(72, ("C", "H"), "H@A C@A C@B H@B"),
    "brucite": Stack(72, ("M", "O", "H"), "H@C O@C M@A O@B H@B"),
    "quintuple": Stack(72, ("M", "X", "Y"), "X@B M@C Y@A M@B X@C"),
    "alpha-In2Se3": Stack(69, ("M", "X"), "X@A M@B X@B M@C X@A"),
    "ZnIn2S4": Stack(69, ("Z", "M", "X"), "X@A Z@B X@B M@C X@A M@A X@B"),
    "septuple": Stack(72, ("N", "M", "X"), "X@A M@B X@C N@A X@B M@C X@A"),
    "nonuple": Stack(72, ("N", "M", "X"), "X@C M@A X@B N@C X@A N@B X@C M@A X@B"),
    "SmSI": Stack(72, ("M", "N", "X"), "X@B M@A N@C N@A M@C X@B"),
    "MoSi2N4": Stack(78, ("M", "Si", "N"), "N@A Si@B N@B M@A N@B Si@B N@A"),
    "M2XT2": Stack(72, ("M", "X", "T"), "T@B M@C X@A M@B T@C"),
    "M2X(OH)2": Stack(72, ("M", "X", "O", "H"), "H@B O@B M@C X@A M@B O@C H@C"),
    "M3X2T2": Stack(72, ("N", "M", "X", "T"), "T@A M@B X@C N@A X@B M@C T@A"),
    "M3X2(OH)2": Stack(72, ("N", "M", "X", "O", "H"), "H@A O@A M@B X@C N@A X@B M@C O@A H@A"),
    "M4X3T2": Stack(72, ("N", "M", "X", "T"), "T@C M@A X@B N@C X@A N@B X@C M@A T@B"),
    "AB bilayer": Stack(72, ("M",), "M@A M@B M@B M@C"),
    "ABA trilayer": Stack(78, ("M",), "M@B M@A M@B M@C M@A M@B"),
    "ABC trilayer": Stack(72, ("M",), "M@A M@B M@B M@C M@C M@A"),
    "AA' bilayer": Stack(72, ("M", "X"), "M@A X@B M@B X@A"),
    "polar bilayer": Stack(69, ("M", "X"), "M@A X@B M@B X@C"),
    "2H bilayer": Stack(72, ("M", "X"), "X@B M@A X@B X@A M@B X@A"),
    "2Ha bilayer": Stack(72, ("M", "X"), "X@B M@A X@B X@C M@A X@C"),
    "3R bilayer": Stack(69, ("M", "X"), "X@B M@A X@B X@C M@B X@C"),
}
