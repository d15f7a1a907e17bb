"""Records of a source before they are turned into crystals, and entries that cannot be used.

Reading records is cheap and serial; making a `Crystal` is neither. Records are small and can be pickled, so that other
processes turn them into crystals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from index.chemistry.elements import get_atomic_numbers
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.errors import CrystalError, DomainError


@dataclass(frozen=True)
class RejectedEntry:
    """An entry that cannot be used.

    Attributes:
        name: file, line or id, as far as known.
        reason: a sentence.
    """

    name: str
    reason: str


class Record(Protocol):
    """A structure of a source."""

    @property
    def id(self) -> str:
        """Id in the source."""
        ...

    @property
    def source(self) -> str:
        """Name of the source."""
        ...

    @property
    def license(self) -> str | None:
        """License that the source states, or None."""
        ...

    @property
    def reference(self) -> str | None:
        """Publication that describes the crystal, or None."""
        ...

    def make_crystal(self) -> Crystal:
        """Return the crystal.

        Raises:
            DomainError: the structure cannot be used.
        """
        ...


@dataclass(frozen=True)
class CellRecord:
    """A structure given by its cell.

    Attributes:
        lattice: (3, 3) rows are the cell vectors, angstrom.
        species: N symbols or atomic numbers.
        coordinates: (N, 3).
        is_cartesian: whether the coordinates are in angstrom, rather than fractional.
    """

    id: str
    source: str
    lattice: Any
    species: Sequence[str | int]
    coordinates: Any
    is_cartesian: bool = False
    license: str | None = None
    reference: str | None = None

    def make_crystal(self) -> Crystal:
        """Return the crystal; see `Record.make_crystal`."""
        numbers = [_find_atomic_number(kind) for kind in self.species]
        lattice = _to_array(self.lattice, "The cell")
        coordinates = _to_array(self.coordinates, "The list of coordinates")
        if self.is_cartesian:
            coordinates = _to_fractional(coordinates, lattice)
        return Crystal.from_cell(lattice, numbers, coordinates, id=self.id, source=self.source)


@dataclass(frozen=True)
class TextRecord:
    """A structure given as the text of a CIF or POSCAR."""

    id: str
    source: str
    text: str
    license: str | None = None
    reference: str | None = None

    def make_crystal(self) -> Crystal:
        """Return the crystal; see `Record.make_crystal`."""
        return read_structure(self.text, id=self.id, source=self.source)


@dataclass(frozen=True)
class CrystalRecord:
    """A crystal that is already complete."""

    crystal: Crystal
    license: str | None = None
    reference: str | None = None

    @property
    def id(self) -> str:
        """Id of the crystal."""
        return self.crystal.id

    @property
    def source(self) -> str:
        """Source of the crystal."""
        return self.crystal.source

    def make_crystal(self) -> Crystal:
        """Return the crystal."""
        return self.crystal


# Keys under which databases state a license, in either spelling.
LICENSE_KEYS = ("licence", "license")
# Electrons and X-rays do not distinguish them from hydrogen.
_ISOTOPES = {"D": 1, "T": 1}


def make_crystal(record: Record) -> Crystal | RejectedEntry:
    """Return the crystal of a record, or the reason why it cannot be used."""
    try:
        return record.make_crystal()
    except DomainError as error:
        return RejectedEntry(record.id, str(error))
    except Exception as error:  # no bad entry may end a build of many thousands
        return RejectedEntry(record.id, f"Unexpected {type(error).__name__}: {error}.")


def encode_text(value: object) -> str:
    """Return an id or a name as text that UTF-8 can encode; lone surrogates, which JSON allows, are escaped."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _find_atomic_number(kind: object) -> int:
    if isinstance(kind, str):
        number = _ISOTOPES.get(kind) or get_atomic_numbers().get(kind)
        if number is None:
            raise CrystalError(f"Unknown element {kind!r}; give a chemical element from H to Cf.")
        return number
    if isinstance(kind, int | np.integer):
        return int(kind)
    raise CrystalError(f"Unknown element {kind!r}; give symbols or atomic numbers.")


def _to_array(values: object, what: str) -> Any:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise CrystalError(f"{what} must consist of numbers in rows of equal length.") from None


def _to_fractional(coordinates: Any, lattice: Any) -> Any:
    try:
        return coordinates @ np.linalg.inv(lattice)
    except (np.linalg.LinAlgError, ValueError):
        raise CrystalError("The Cartesian coordinates do not match the cell.") from None
