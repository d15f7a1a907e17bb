"""A lattice that somebody has picked by two vectors, made exact by the spots near its points."""

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError
from model.indexing.pattern_lattice import PatternLattice, refine_lattice
from model.pattern.observation import Q_MAX_INV_ANGSTROM, Observation

FloatArray = NDArray[np.float64]

# Sine of the smallest angle between two vectors that tell a lattice, and their shortest and longest length: no spots
# are compared farther out than half of that.
LEAST_SINE = 0.1
SHORTEST_INV_ANGSTROM, LONGEST_INV_ANGSTROM = 0.02, 2 * Q_MAX_INV_ANGSTROM
LEAST_ON_LATTICE = 3
# A hand is off by hundredths of a vector. So the spots within so many lengths of the longer vector are fitted first,
# where the points of the lattice are still told apart, and each fit is good enough for the next.
_REACHES = (1.6, 3.0, 6.0)
_NEAR = 0.3


def refine_picked_lattice(observed: Observation, basis: FloatArray) -> PatternLattice:
    """The lattice of two vectors, refined by the spots on it; reduced, as `index_pattern` gives it.

    No evidence is asked for: whoever picks a lattice may know better than the spots.

    Args:
        observed: the pattern.
        basis: (2, 2) rows from the direct beam to a* and b* as the camera sees them, 1/angstrom.

    Raises:
        OptionError: vectors that are nearly parallel or too short, or on whose lattice fewer than three spots lie.
    """
    _require_basis(basis)
    for reach in _REACHES:
        basis = _drawn_to(observed.q, basis, reach)
    found = refine_lattice(observed, basis)
    if found.on_lattice.sum() < LEAST_ON_LATTICE:
        raise OptionError(
            f"lattice: {int(found.on_lattice.sum())} spots lie on the lattice of these two vectors; pick the "
            "vectors from the direct beam to two spots"
        )
    return found


def _drawn_to(q: FloatArray, basis: FloatArray, reach: float) -> FloatArray:
    """The basis by least squares of the spots (N, 2) near its points, within `reach` lengths of the longer vector."""
    length = np.linalg.norm(basis, axis=1)
    near = q[np.linalg.norm(q, axis=1) < reach * length.max()]
    hk = np.rint(near @ np.linalg.inv(basis))
    off = np.linalg.norm(near - hk @ basis, axis=1)
    met = (off < _NEAR * length.min()) & hk.any(axis=1)
    if np.linalg.matrix_rank(hk[met]) < 2:
        return basis
    return np.asarray(np.linalg.lstsq(hk[met], near[met])[0])


def _require_basis(basis: FloatArray) -> None:
    first, second = np.hypot(*basis.T).tolist()
    if not SHORTEST_INV_ANGSTROM <= min(first, second) <= max(first, second) <= LONGEST_INV_ANGSTROM:
        raise OptionError(
            f"lattice: the vectors are {first:.3g} and {second:.3g} 1/angstrom long, and have to lie between "
            f"{SHORTEST_INV_ANGSTROM:g} and {LONGEST_INV_ANGSTROM:g}; is the scale right?"
        )
    if abs(float(np.linalg.det(basis))) < LEAST_SINE * first * second:
        raise OptionError("lattice: the two vectors are nearly parallel; pick two that span the plane")
