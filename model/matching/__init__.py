"""Verification: whether a crystal explains a pattern, by its lattice and its intensities."""
