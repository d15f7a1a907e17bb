"""A structure to add to a live index, and the outcome of adding it."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from index.build.preparation import find_symmetry
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.errors import ConflictError

# Source of the entries of user structures.
SOURCE = "user"
# Descriptions whose coordinates differ by less are the same structure, angstrom; a CIF with four decimals needs it.
_IDENTICAL_ANGSTROM = 2e-3


@dataclass(frozen=True)
class NewUserStructure:
    """A structure to add.

    Attributes:
        crystal: the structure; its own id and source are ignored.
        id: the id to give it; derived from the structure if None, so that the same structure always gets the same id.
        license: of the structure.
        reference: the work that describes it.
        key_name: name of the API key of the request.
    """

    crystal: Crystal
    id: str | None = None
    license: str | None = None
    reference: str | None = None
    key_name: str | None = None

    def make_crystal(self) -> Crystal:
        """Return the structure with its id and the source of user structures."""
        return replace(self.crystal, id=self.id or _derive_id(self.crystal), source=SOURCE)

    def make_entry(self) -> Entry:
        """Return the catalog entry; CrystalError if spglib finds no symmetry."""
        crystal = self.make_crystal()
        return Entry.from_crystal(crystal, find_symmetry(crystal), self.license, self.reference)


@dataclass(frozen=True)
class AddOutcome:
    """The outcome of adding a structure.

    Attributes:
        entry: as it is in the live index.
        same_as: ids of its duplicates.
        is_new: False if the same structure existed already under this id.
    """

    entry: Entry
    same_as: tuple[str, ...]
    is_new: bool


def is_identical(first: Crystal, second: Crystal) -> bool:
    """Return whether two descriptions are the same structure; the test is far stricter than that for duplicates."""
    if not np.array_equal(first.numbers, second.numbers):
        return False
    pairs = ((first.lattice, second.lattice), (first.positions, second.positions))
    return all(np.allclose(a, b, rtol=0.0, atol=_IDENTICAL_ANGSTROM) for a, b in pairs)


def check_identical(entry: Entry, crystal: Crystal) -> None:
    """Reject a structure whose id belongs to another one.

    Raises:
        ConflictError: the existing entry is a different structure.
    """
    if not is_identical(entry.crystal, crystal):
        raise ConflictError(
            f"The id {crystal.id!r} belongs to another structure, {entry.formula} from {entry.source}; choose another "
            "id, or omit it."
        )


def _derive_id(crystal: Crystal) -> str:
    """Return an id that is a digest of the structure, rounded to a ten-thousandth of an angstrom."""
    content = sha256()
    for array in (crystal.numbers, crystal.lattice, crystal.positions):
        # Adding zero turns -0.0 into 0.0.
        content.update((np.round(np.asarray(array, dtype=np.float64), 4) + 0.0).tobytes())
    return f"{SOURCE}/{content.hexdigest()[:12]}"
