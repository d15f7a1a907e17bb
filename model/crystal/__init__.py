"""Two-dimensional crystals: canonical form, symmetry, structure files and duplicates."""
