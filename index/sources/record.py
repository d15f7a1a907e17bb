"""What a source yields: structures not yet turned into crystals, and entries that could not be read.

Reading is cheap and serial, making a `Crystal` is neither: records are small, can be pickled, and are turned
into crystals by other processes.
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
        name: where it is: file, line, id, as far as known.
        reason: a sentence.
    """

    name: str
    reason: str


class Record(Protocol):
    """One structure of a source."""

    @property
    def id(self) -> str:
        """As the source names it."""
        ...

    @property
    def source(self) -> str:
        """Name of the database."""
        ...

    @property
    def license(self) -> str | None:
        """As the source states it, or None."""
        ...

    @property
    def reference(self) -> str | None:
        """The work that describes the crystal, or None."""
        ...

    def crystal(self) -> Crystal:
        """The crystal.

        Raises:
            DomainError: it cannot be used, and why.
        """
        ...


@dataclass(frozen=True)
class CellRecord:
    """A structure given as a cell.

    Attributes:
        lattice: (3, 3) rows are the cell vectors, angstrom.
        species: N symbols or atomic numbers.
        coordinates: (N, 3).
        cartesian: whether the coordinates are in angstrom and not fractional.
    """

    id: str
    source: str
    lattice: Any
    species: Sequence[str | int]
    coordinates: Any
    cartesian: bool = False
    license: str | None = None
    reference: str | None = None

    def crystal(self) -> Crystal:
        """The crystal; see `Record.crystal`."""
        numbers = [_atomic_number(kind) for kind in self.species]
        lattice = _numeric(self.lattice, "the cell")
        coordinates = _numeric(self.coordinates, "the list of coordinates")
        if self.cartesian:
            coordinates = _fractional(coordinates, lattice)
        return Crystal.from_cell(lattice, numbers, coordinates, id=self.id, source=self.source)


@dataclass(frozen=True)
class TextRecord:
    """A structure given as the text of a CIF or POSCAR."""

    id: str
    source: str
    text: str
    license: str | None = None
    reference: str | None = None

    def crystal(self) -> Crystal:
        """The crystal; see `Record.crystal`."""
        return read_structure(self.text, id=self.id, source=self.source)


@dataclass(frozen=True)
class CrystalRecord:
    """A crystal that needs no reading."""

    ready: Crystal
    license: str | None = None
    reference: str | None = None

    @property
    def id(self) -> str:
        """The crystal's."""
        return self.ready.id

    @property
    def source(self) -> str:
        """The crystal's."""
        return self.ready.source

    def crystal(self) -> Crystal:
        """The crystal itself."""
        return self.ready


# Electrons and X-rays do not tell them from hydrogen.
_ISOTOPES = {"D": 1, "T": 1}


def make_crystal(record: Record) -> Crystal | RejectedEntry:
    """The crystal of a record, or why there is none."""
    try:
        return record.crystal()
    except DomainError as error:
        return RejectedEntry(record.id, str(error))
    except Exception as error:  # one bad entry never ends a build of many thousands, whatever it met
        return RejectedEntry(record.id, f"unexpected {type(error).__name__}: {error}")


def plain_text(value: object) -> str:
    """An id or a name as text that can be stored: lone surrogates, which JSON may hold, are written out."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _atomic_number(kind: object) -> int:
    if isinstance(kind, str):
        number = _ISOTOPES.get(kind) or get_atomic_numbers().get(kind)
        if number is None:
            raise CrystalError(f"unknown element {kind!r}: name a chemical element from H to Cf")
        return number
    if isinstance(kind, int | np.integer):
        return int(kind)
    raise CrystalError(f"unknown element {kind!r}: give symbols or atomic numbers")


def _numeric(values: object, what: str) -> Any:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise CrystalError(f"{what} holds something else than numbers, or unequal rows") from None


def _fractional(coordinates: Any, lattice: Any) -> Any:
    try:
        return coordinates @ np.linalg.inv(lattice)
    except (np.linalg.LinAlgError, ValueError):
        raise CrystalError("the cell and its Cartesian coordinates do not go together") from None
