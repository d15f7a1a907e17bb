"""Two-dimensional crystals: canonical form, symmetry, files, duplicates."""

from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure, write_cif, write_poscar
from model.crystal.symmetry import Symmetry, symmetry_of

__all__ = ["Crystal", "Symmetry", "read_structure", "symmetry_of", "write_cif", "write_poscar"]
