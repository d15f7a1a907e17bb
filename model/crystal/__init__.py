"""Two-dimensional crystals: canonical form, symmetry, files, duplicates."""

from model.crystal.crystal import Crystal

__all__ = ["Crystal"]
