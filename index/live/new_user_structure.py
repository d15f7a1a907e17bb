"""A structure that is to be added to a library, and what came of it."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from index.build.preparation import find_symmetry
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.errors import ConflictError

# What the entries of added structures name as their source.
SOURCE = "user"
# Two descriptions whose lengths differ by less are one structure, angstrom: what a CIF of four decimals leaves.
_IDENTICAL_ANGSTROM = 2e-3


@dataclass(frozen=True)
class NewUserStructure:
    """A structure that is to be added.

    Attributes:
        crystal: the structure; its own id and source are not looked at.
        id: under which it is to be found; made from the structure if None, so that one structure comes to one id.
        license: of the structure.
        reference: the work that describes it.
        key_name: who adds it.
    """

    crystal: Crystal
    id: str | None = None
    license: str | None = None
    reference: str | None = None
    key_name: str | None = None

    def named(self) -> Crystal:
        """The structure under the id and the source that it will have."""
        return replace(self.crystal, id=self.id or _made_id(self.crystal), source=SOURCE)

    def entry(self) -> Entry:
        """The entry that it will be.

        Raises:
            CrystalError: no symmetry can be found for it.
        """
        crystal = self.named()
        return Entry.of(crystal, find_symmetry(crystal), self.license, self.reference)


@dataclass(frozen=True)
class AddOutcome:
    """What came of adding a structure.

    Attributes:
        entry: as it is in the library.
        same_as: ids of the others that are the same crystal.
        is_new: False where this very structure was there under its id.
    """

    entry: Entry
    same_as: tuple[str, ...]
    is_new: bool


def is_identical(one: Crystal, other: Crystal) -> bool:
    """Whether two descriptions are the very same structure; far narrower than what is called the same crystal."""
    if not np.array_equal(one.numbers, other.numbers):
        return False
    pairs = ((one.lattice, other.lattice), (one.positions, other.positions))
    return all(np.allclose(mine, its, rtol=0.0, atol=_IDENTICAL_ANGSTROM) for mine, its in pairs)


def refuse_another(entry: Entry, crystal: Crystal) -> None:
    """An id names one structure.

    Raises:
        ConflictError: the entry with the id of this structure is not the very same.
    """
    if not is_identical(entry.crystal, crystal):
        raise ConflictError(
            f"the id {crystal.id!r} belongs to another structure, {entry.formula} from {entry.source}: give another "
            "id, or none"
        )


def _made_id(crystal: Crystal) -> str:
    """From the structure to a ten-thousandth of an angstrom."""
    content = sha256()
    for part in (crystal.numbers, crystal.lattice, crystal.positions):
        # Adding zero takes the sign off one.
        content.update((np.round(np.asarray(part, dtype=np.float64), 4) + 0.0).tobytes())
    return f"{SOURCE}/{content.hexdigest()[:12]}"
