"""Two-dimensional crystals: canonical form, symmetry, files, duplicates."""
