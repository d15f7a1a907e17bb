"""Two-dimensional crystals: canonical form, symmetry, files, duplicates."""

from model.crystal.crystal import Crystal
from model.crystal.duplicates import RELATED, SAME, first_same, group_duplicates, same_crystal
from model.crystal.elements import LAST_ATOMIC_NUMBER, element_symbol
from model.crystal.operations import Operations, operations_of, symmetric_shifts
from model.crystal.site_matching import Tolerance
from model.crystal.structure_files import read_structure, write_cif, write_poscar
from model.crystal.symmetry import Symmetry, symmetry_of

__all__ = [
    "LAST_ATOMIC_NUMBER",
    "RELATED",
    "SAME",
    "Crystal",
    "Operations",
    "Symmetry",
    "Tolerance",
    "element_symbol",
    "first_same",
    "group_duplicates",
    "operations_of",
    "read_structure",
    "same_crystal",
    "symmetric_shifts",
    "symmetry_of",
    "write_cif",
    "write_poscar",
]
