"""Databases of crystals, a file a format."""
