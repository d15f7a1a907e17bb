"""What a two-dimensional crystal is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Crystal:
    """A layer, periodic in the plane z = 0, as its primitive cell in canonical orientation and origin.

    Attributes:
        id: opaque name, unique within its source.
        source: where it came from.
        lattice: (2, 2) rows a and b, angstrom; reduced, |a| <= |b|, a along +x, b_y > 0.
        numbers: (N,) atomic numbers.
        positions: (N, 3) Cartesian, angstrom; x, y inside the cell, z from the middle of the slab.
    """

    id: str
    source: str
    lattice: FloatArray
    numbers: IntArray
    positions: FloatArray
