"""The two-dimensional crystal."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.crystal.canonical import canonicalize_layer
from model.crystal.checks import check_atoms, check_distances, check_orientation
from model.crystal.elements import MAX_ATOMIC_NUMBER as MAX_ATOMIC_NUMBER
from model.crystal.elements import element_symbol as element_symbol
from model.crystal.elements import reduced_formula
from model.crystal.layer import Layer, extract_layer
from model.crystal.reduction import find_primitive_layer
from model.crystal.single_layer import check_extends_in_plane, isolate_layer
from model.errors import CrystalError

if TYPE_CHECKING:
    from pymatgen.core.sites import PeriodicSite
    from pymatgen.core.structure import Structure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Longer cell vectors suggest a wrong unit; sums of squares stay finite.
MAX_CELL_LENGTH_ANGSTROM = 1e4


@dataclass(frozen=True, eq=False)
class Crystal:
    """A layer, periodic in the plane z = 0, as a primitive cell with canonical orientation and origin.

    The constructor checks its arrays and makes them read-only. `from_cell` and `from_structure` compute the
    canonical form.

    Attributes:
        id: any name that is unique within the source.
        source: where the structure comes from.
        lattice: (2, 2) rows a and b, angstrom; reduced, |a| <= |b| (within 0.02), a along +x, b_y > 0.
        numbers: (N,) atomic numbers.
        positions: (N, 3) Cartesian, angstrom; x and y inside the cell (within 0.06), z from the middle of the
            slab.

    Raises:
        CrystalError: the arrays differ in length, are empty or not finite; an element is unknown; atoms overlap;
            or the lattice is not reduced and in standard orientation.
    """

    id: str
    source: str
    lattice: FloatArray
    numbers: IntArray
    positions: FloatArray

    def __post_init__(self) -> None:
        lattice = _copy_read_only(self.lattice, np.float64)
        numbers = _copy_read_only(self.numbers, np.int64)
        positions = _copy_read_only(self.positions, np.float64)
        if not self.id:
            raise CrystalError("A crystal needs an id.")
        if lattice.shape != (2, 2):
            raise CrystalError(f"The lattice must have shape (2, 2), not {lattice.shape}.")
        check_atoms(numbers, positions)
        check_orientation(lattice)
        check_distances(lattice, numbers, positions)
        for name, value in (("lattice", lattice), ("numbers", numbers), ("positions", positions)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_stored(
        cls, id: str, source: str, lattice: FloatArray, numbers: IntArray, positions: FloatArray
    ) -> Self:
        """Return a crystal without checks, from the arrays of one that was already checked; they become read-only."""
        crystal = object.__new__(cls)
        for array in (lattice, numbers, positions):
            array.setflags(write=False)
        vars(crystal).update(id=id, source=source, lattice=lattice, numbers=numbers, positions=positions)
        return crystal

    @classmethod
    def from_cell(
        cls, lattice: ArrayLike, numbers: ArrayLike, frac: ArrayLike, *, id: str, source: str
    ) -> Self:
        """Return the crystal in a periodic cell that contains one layer, or several identical ones, and vacuum.

        Args:
            lattice: (3, 3) rows are the cell vectors, angstrom. Any axis may cross the vacuum and may be tilted, the
                cell may be left-handed or a supercell, and the slab may cross a cell boundary.
            numbers: (N,) atomic numbers.
            frac: (N, 3) fractional coordinates.
            id: any name that is unique within the source.
            source: where the structure comes from.

        Raises:
            CrystalError: as the constructor; or the cell is flat or has no vacuum, holds different layers separated
                by vacuum, or holds a molecule or a chain.
        """
        cell = np.asarray(lattice, dtype=np.float64)
        kinds = np.asarray(numbers, dtype=np.int64)
        sites = np.asarray(frac, dtype=np.float64)
        if cell.shape != (3, 3) or not np.isfinite(cell).all():
            raise CrystalError("The cell must consist of three vectors of finite numbers.")
        if not 0 < np.linalg.norm(cell, axis=1).max() < MAX_CELL_LENGTH_ANGSTROM:
            raise CrystalError(
                f"A cell vector is {np.linalg.norm(cell, axis=1).max():.3g} angstrom long; check its unit."
            )
        check_atoms(kinds, sites)
        primitive = find_primitive_layer(isolate_layer(extract_layer(cell, kinds, sites)))
        check_extends_in_plane(primitive)
        layer = canonicalize_layer(primitive)
        return cls(id, source, layer.lattice, layer.numbers, _cartesian_positions(layer))

    @classmethod
    def from_structure(cls, structure: "Structure", *, id: str, source: str) -> Self:
        """Return the crystal in a pymatgen structure; CrystalError as `from_cell`, or if a site is not a whole atom."""
        numbers = [_atomic_number(site) for site in structure]
        if not numbers:
            raise CrystalError("The structure contains no atoms.")
        return cls.from_cell(structure.lattice.matrix, numbers, structure.frac_coords, id=id, source=source)

    @cached_property
    def formula(self) -> str:
        """Reduced formula, most electropositive element first: "MoS2"."""
        return reduced_formula(tuple(self.numbers.tolist()))

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements, in alphabetical order."""
        return tuple(sorted(element_symbol(number) for number in set(self.numbers.tolist())))

    @property
    def area(self) -> float:
        """Area of the primitive cell, square angstrom."""
        return float(self.lattice[0, 0] * self.lattice[1, 1])

    @cached_property
    def thickness(self) -> float:
        """Distance between the outermost atomic planes along the normal, angstrom."""
        return float(np.ptp(self.positions[:, 2]))

    def fold_superlattice(self, tolerance_angstrom: float) -> "Crystal":
        """Return the crystal in its smallest cell within a tolerance; a weak superlattice is lost.

        Args:
            tolerance_angstrom: largest distance of an atom from its translated image.
        """
        xy = self.positions[:, :2] @ np.linalg.inv(self.lattice)
        layer = find_primitive_layer(
            Layer(self.lattice, self.numbers, xy, self.positions[:, 2]), tolerance_angstrom
        )
        if len(layer.numbers) == len(self.numbers):
            return self
        layer = canonicalize_layer(layer)
        return Crystal(self.id, self.source, layer.lattice, layer.numbers, _cartesian_positions(layer))

    def turn_over(self) -> "Crystal":
        """Return the flake face down: rotated by 180 degrees about a, in a cell with b_y > 0.

        With real scattering factors its pattern is the mirror image (`Geometry.mirrored`) of the pattern of the other
        face under a mirrored tilt. Complex factors and multislice distinguish the faces.
        """
        lattice = self.lattice * np.array([[1.0, 1.0], [-1.0, 1.0]])
        positions = self.positions * np.array([1.0, -1.0, -1.0])
        xy = positions[:, :2] @ np.linalg.inv(lattice)
        positions[:, :2] = (xy - np.floor(xy + 1e-9)) @ lattice
        return Crystal(self.id, self.source, lattice, self.numbers, positions)

    def to_structure(self, vacuum_angstrom: float = 20.0) -> "Structure":
        """Return a pymatgen structure with c along the normal and the slab at half the height of the cell.

        Args:
            vacuum_angstrom: distance between the layer and its next image.
        """
        from pymatgen.core.structure import Structure

        height = self.thickness + vacuum_angstrom
        cell = np.zeros((3, 3))
        cell[:2, :2], cell[2, 2] = self.lattice, height
        positions = self.positions + np.array([0.0, 0.0, 0.5 * height])
        return Structure(cell, self.numbers.tolist(), positions, coords_are_cartesian=True)


def _atomic_number(site: "PeriodicSite") -> int:
    if not site.is_ordered:
        raise CrystalError(
            f"Partial occupancy ({site.species_string} at one site); order the structure first, so that every "
            "site is fully occupied."
        )
    from pymatgen.core.periodic_table import DummySpecies

    number = 0 if isinstance(site.specie, DummySpecies) else site.specie.Z
    if not 1 <= number <= MAX_ATOMIC_NUMBER:
        raise CrystalError(f"Unknown element {site.specie.symbol}; elements from H to Cf are supported.")
    return int(number)


def _cartesian_positions(layer: Layer) -> FloatArray:
    return np.concatenate([layer.xy @ layer.lattice, layer.z[:, None]], axis=1)


def _copy_read_only(values: ArrayLike, dtype: type[Any]) -> NDArray[Any]:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
