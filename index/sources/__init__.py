"""Databases of crystals, one module per format."""
