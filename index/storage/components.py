"""The parts of an opened index, whose rows are the same crystals; more rows can be laid behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import CompositionTable
from index.chemistry.elements import ElementBits
from index.storage.catalog import Catalog, Entry
from index.storage.extended_catalog import Entries, ExtendedCatalog
from index.storage.layout import CATALOG_NAME, ELEMENTS_NAME, VECTORS_NAME
from index.storage.manifest import Manifest
from index.storage.vectors import Vectors
from model.errors import IndexUnavailableError
from model.indexing.lattice_table import LatticeTable


@dataclass(frozen=True)
class AppendedCrystals:
    """M crystals that come behind those of an index.

    Attributes:
        entries: M of them, with ids that the index does not have.
        vectors: (M, D), of the model that made the index.
        groups: (M,) duplicate group of each, the index's where it is the same crystal as one of that.
    """

    entries: Sequence[Entry]
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """What a search reads; row i is the same crystal in each.

    Attributes:
        base: the catalog's file.
        catalog: what is known of each crystal.
        vectors: of the structure tower.
        bits: elements.
        lattices: with their sublattices.
        compositions: atomic fractions.

    Raises:
        IndexUnavailableError: parts of different numbers of crystals.
    """

    base: Catalog
    catalog: Entries
    vectors: Vectors
    bits: ElementBits
    lattices: LatticeTable
    compositions: CompositionTable

    def __post_init__(self) -> None:
        if not len(self.vectors) == len(self.catalog) == self.bits.count:
            raise IndexUnavailableError(
                f"the index's parts disagree: {len(self.vectors)} vectors, {len(self.catalog)} catalog "
                f"entries, {self.bits.count} in the element table; build it again"
            )

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Self:
        """Those of a version, read-only; vectors and elements are memory-mapped.

        Raises:
            IndexUnavailableError: missing or damaged, or not as many crystals as the manifest states.
        """
        base = Catalog.open(folder / CATALOG_NAME)
        try:
            return cls(
                base=base,
                catalog=base,
                vectors=Vectors.open(folder / VECTORS_NAME),
                bits=ElementBits.open(folder / ELEMENTS_NAME, manifest.crystals),
                lattices=LatticeTable.from_cells(base.lattices()),
                compositions=CompositionTable(base.numbers()),
            )
        except BaseException:
            base.close()
            raise

    def append(self, extra: AppendedCrystals) -> "Components":
        """The rows of the files, and these behind them."""
        crystals = [entry.crystal for entry in extra.entries]
        numbers = [crystal.numbers for crystal in crystals]
        return Components(
            base=self.base,
            catalog=ExtendedCatalog(self.base, extra.entries, extra.groups),
            vectors=self.vectors.append(extra.vectors),
            bits=self.bits.append(numbers),
            lattices=self.lattices.extend(
                np.array([crystal.lattice for crystal in crystals]), len(self.base)
            ),
            compositions=self.compositions.append(numbers),
        )
