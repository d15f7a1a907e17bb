"""The components of an open index. Row i is the same crystal in each; further rows can be appended in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import CompositionTable
from index.chemistry.elements import ElementBits
from index.storage.catalog import Catalog, Entry
from index.storage.extended_catalog import CatalogReader, ExtendedCatalog
from index.storage.layout import CATALOG_NAME, ELEMENTS_NAME, VECTORS_NAME
from index.storage.manifest import Manifest
from index.storage.vectors import Vectors
from model.digests import ArrayDigests, Steps
from model.errors import IndexDamagedError, IndexUnavailableError
from model.indexing.lattice_table import LatticeTable


@dataclass(frozen=True)
class AppendedCrystals:
    """M crystals to append to those of an index.

    Attributes:
        entries: M of them, with ids that the index does not have.
        vectors: (M, D), of the model that made the index.
        groups: (M,) duplicate group of each; a group of the index for a duplicate of one of its crystals.
    """

    entries: Sequence[Entry]
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """What a search reads.

    Attributes:
        base: the catalog in the file.
        catalog: that catalog with the appended entries.
        vectors: from the structure tower.
        bits: elements of each crystal.
        lattices: with their sublattices.
        compositions: atomic fractions.
        digests: of all these arrays in memory; those given belong to components that have arrays in common with these.

    Raises:
        IndexUnavailableError: the components have different numbers of crystals.
    """

    base: Catalog
    catalog: CatalogReader
    vectors: Vectors
    bits: ElementBits
    lattices: LatticeTable
    compositions: CompositionTable
    digests: ArrayDigests | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not len(self.vectors) == len(self.catalog) == self.bits.count:
            raise IndexUnavailableError(
                f"The components of the index disagree: {len(self.vectors)} vectors, {len(self.catalog)} catalog "
                f"entries, {self.bits.count} crystals in the element table; build the index again."
            )
        object.__setattr__(self, "digests", ArrayDigests(self._list_arrays(), self.digests))

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Self:
        """Open the components of a version, read-only; vectors and elements are memory-mapped.

        Raises:
            IndexUnavailableError: a file is missing or damaged, or the manifest states another number of crystals.
        """
        base = Catalog.open(folder / CATALOG_NAME)
        try:
            return cls(
                base=base,
                catalog=base,
                vectors=Vectors.open(folder / VECTORS_NAME),
                bits=ElementBits.open(folder / ELEMENTS_NAME, manifest.crystals),
                lattices=LatticeTable.from_cells(base.read_lattices()),
                compositions=CompositionTable(base.read_atomic_numbers()),
            )
        except BaseException:
            base.close()
            raise

    def append(self, appended: AppendedCrystals) -> "Components":
        """Return components with the rows of the files followed by these crystals."""
        crystals = [entry.crystal for entry in appended.entries]
        numbers = [crystal.numbers for crystal in crystals]
        return Components(
            base=self.base,
            catalog=ExtendedCatalog(self.base, appended.entries, appended.groups),
            vectors=self.vectors.append(appended.vectors),
            bits=self.bits.append(numbers),
            lattices=self.lattices.extend(
                np.array([crystal.lattice for crystal in crystals]), len(self.base)
            ),
            compositions=self.compositions.append(numbers),
            digests=self.digests,
        )

    def check_memory(self) -> Steps[None]:
        """Compare the arrays in memory with their digests, and read the catalog's entries anew from now on.

        Raises:
            IndexDamagedError: a bit has changed.
        """
        assert self.digests is not None
        changed = yield from self.digests.find_changed()
        if changed:
            raise IndexDamagedError(f"The {changed} have changed in memory; if this recurs, test the memory.")
        self.base.forget_entries()

    def _list_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return every array that a search reads by what it is called in messages."""
        return {
            **self.vectors.list_arrays(),
            f"elements ({ELEMENTS_NAME})": self.bits.bits,
            f"duplicate groups ({CATALOG_NAME})": self.catalog.groups,
            **{f"{name} ({CATALOG_NAME})": array for name, array in self.lattices.list_arrays().items()},
            **{f"{name} ({CATALOG_NAME})": array for name, array in self.compositions.list_arrays().items()},
        }
