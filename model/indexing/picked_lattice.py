"""Refine a lattice that a user picked as two vectors, with the spots near its nodes."""

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError
from model.indexing.pattern_lattice import PatternLattice, refine_lattice
from model.pattern.observation import Q_MAX_INV_ANGSTROM, Observation

FloatArray = NDArray[np.float64]

MIN_SINE = 0.1
"""Sine of the smallest angle between the two vectors."""
MIN_LENGTH_INV_ANGSTROM, MAX_LENGTH_INV_ANGSTROM = 0.02, 2 * Q_MAX_INV_ANGSTROM
"""Shortest and longest vector; no spots are compared farther out than half of the longest."""
MIN_SPOTS_ON_LATTICE = 3
# A vector picked by hand is off by hundredths of its length. So the spots within so many lengths of the longer vector
# are fitted first, where they can be assigned to points of the lattice, and each fit is accurate enough for the next.
_REACHES = (1.6, 3.0, 6.0)
_MAX_DISTANCE = 0.3


def refine_picked_lattice(observed: Observation, basis: FloatArray) -> PatternLattice:
    """Return the lattice of two vectors, refined by the spots on it and reduced, as `index_pattern` does.

    No evidence is required: whoever picks a lattice may know better than the spots.

    Args:
        observed: the pattern.
        basis: (2, 2) rows from the direct beam to a* and b* as the camera shows them, 1/angstrom.

    Raises:
        OptionError: the vectors are nearly parallel, too short or too long, or meet fewer than three spots.
    """
    _require_basis(basis)
    for reach in _REACHES:
        basis = _fit_basis(observed.q_inv_angstrom, basis, reach)
    lattice = refine_lattice(observed, basis)
    count = int(lattice.on_lattice.sum())
    if count < MIN_SPOTS_ON_LATTICE:
        raise OptionError(
            f"lattice: Only {count} spots lie on the lattice of these two vectors; pick vectors from the direct beam "
            "to two spots."
        )
    return lattice


def _fit_basis(q: FloatArray, basis: FloatArray, reach: float) -> FloatArray:
    """Fit the basis to the spots (N, 2) near its points, within `reach` lengths of the longer vector."""
    length = np.linalg.norm(basis, axis=1)
    near = q[np.linalg.norm(q, axis=1) < reach * length.max()]
    hk = np.rint(near @ np.linalg.inv(basis))
    off = np.linalg.norm(near - hk @ basis, axis=1)
    on_lattice = (off < _MAX_DISTANCE * length.min()) & hk.any(axis=1)
    if np.linalg.matrix_rank(hk[on_lattice]) < 2:
        return basis
    return np.asarray(np.linalg.lstsq(hk[on_lattice], near[on_lattice])[0])


def _require_basis(basis: FloatArray) -> None:
    first, second = np.hypot(*basis.T).tolist()
    if not MIN_LENGTH_INV_ANGSTROM <= min(first, second) <= max(first, second) <= MAX_LENGTH_INV_ANGSTROM:
        raise OptionError(
            f"lattice: The vectors are {first:.3g} and {second:.3g} 1/angstrom long; they must be between "
            f"{MIN_LENGTH_INV_ANGSTROM:g} and {MAX_LENGTH_INV_ANGSTROM:g}. Check the scale."
        )
    if abs(float(np.linalg.det(basis))) < MIN_SINE * first * second:
        raise OptionError("lattice: The two vectors are nearly parallel; pick two that span the plane.")
