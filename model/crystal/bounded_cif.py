"""A parser of CIFs that refuses what would take long before it multiplies atoms by symmetry operations."""

from pymatgen.core.operations import MagSymmOp, SymmOp
from pymatgen.io.cif import CifBlock, CifParser

from model.crystal.checks import check_site_count
from model.errors import TooLargeError

MAX_OPERATIONS = 192
"""No space group has more in its conventional cell."""
MAX_OPERATION_CHARACTERS = 80
MAX_PLACEMENTS = 1000
"""Atoms of the list times operations; special positions count several times."""


class BoundedCifParser(CifParser):
    """Checks the atoms and operations of every block that is parsed, with the sum over the blocks.

    Its methods raise a TooLargeError.
    """

    _placements = 0

    def get_symops(self, data: CifBlock) -> list[SymmOp]:
        """Return the symmetry operations of a block."""
        _check_listed_operations(data)
        operations: list[SymmOp] = super().get_symops(data)
        self._check_placements(data, len(operations))
        return operations

    def get_magsymops(self, data: CifBlock) -> list[MagSymmOp]:
        """Return the operations of a block that states a magnetic symmetry."""
        _check_listed_operations(data)
        operations: list[MagSymmOp] = super().get_magsymops(data)
        self._check_placements(data, len(operations))
        return operations

    def _check_placements(self, data: CifBlock, operations: int) -> None:
        atoms = len(data.data.get("_atom_site_label", ()))
        check_site_count(atoms)
        self._placements += atoms * operations
        if self._placements > MAX_PLACEMENTS:
            raise TooLargeError(
                f"The atoms times the symmetry operations of the CIF are {self._placements}; the limit is "
                f"{MAX_PLACEMENTS}. Give the cell of one layer."
            )


def _check_listed_operations(data: CifBlock) -> None:
    for key, value in data.data.items():
        if "symop" not in key and "equiv_pos" not in key:
            continue
        operations = [value] if isinstance(value, str) else value
        if len(operations) > MAX_OPERATIONS:
            raise TooLargeError(
                f"The CIF lists {len(operations)} symmetry operations; the limit is {MAX_OPERATIONS}."
            )
        if max(map(len, operations), default=0) > MAX_OPERATION_CHARACTERS:
            raise TooLargeError(
                f"A symmetry operation of the CIF has more than {MAX_OPERATION_CHARACTERS} characters."
            )
