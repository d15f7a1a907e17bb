"""Superlattices: weak spots between those of a crystal, from charge-density waves, ordered vacancies or other atoms.

They lie on a lattice of which the crystal's own points are a sublattice. The lattice of a second layer has this
property only by chance.
"""

import numpy as np
from numpy.typing import NDArray

from model.indexing.lattice_table import list_sublattices
from model.indexing.pattern_lattice import PatternLattice
from model.matching.match import Match
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_SUPERCELL = 13
"""Largest number of the crystal's cells in one cell of its superlattice."""
MIN_PARENT_INTENSITY = 0.9
"""Smallest share of the intensity in the spots of the crystal without its superlattice."""
MIN_PARENT_SPOTS, MIN_SUPERLATTICE_SPOTS = 10, 5
SUPERLATTICE_PROBABILITY_FACTOR = 0.8
"""Factor for probabilities where the spots of a superlattice were disregarded."""
MAX_R_FACTOR, MAX_MISSING = 0.15, 0.2
"""Largest R-factor and share of missing reflections of a crystal that explains the spots without the superlattice."""
# Lattice points no farther from each other than this are the same.
_SAME_POINT_INV_ANGSTROM = 0.008
# A lattice is finer than another one if it has so many times its points.
_FINER = 1.5


def is_superlattice(spots: Spots, lattice: PatternLattice, second: PatternLattice) -> bool:
    """Whether a second lattice is a superlattice of the pattern's lattice, or that lattice itself.

    Args:
        spots: the pattern.
        lattice: the pattern's lattice.
        second: the lattice of the spots that are not on it.
    """
    change = lattice.basis @ np.linalg.inv(second.basis)
    whole = np.rint(change)
    off = np.linalg.norm((change - whole) @ second.basis, axis=1).max()
    index = abs(round(float(np.linalg.det(whole))))
    if off > _SAME_POINT_INV_ANGSTROM or not 1 <= index <= MAX_SUPERCELL:
        return False
    if spots.intensity is None or index == 1:
        return True
    on_second = second.index_spots(spots.q_inv_angstrom).on_lattice
    on_second &= ~lattice.index_spots(spots.q_inv_angstrom).on_lattice
    total = float(spots.intensity.sum())
    return float(spots.intensity[on_second].sum()) < (1 - MIN_PARENT_INTENSITY) * total


def select_parent_spots(spots: Spots, lattice: PatternLattice) -> BoolArray | None:
    """Select the spots of the parent crystal if the pattern's lattice is that of a superlattice.

    The parent's lattice is the coarsest sublattice that carries nearly all of the intensity. Spots on no lattice are
    kept, as they are evidence against any crystal.

    Args:
        spots: the pattern.
        lattice: the pattern's lattice.

    Returns:
        (N,) which spots to keep; None where there is no such sublattice.
    """
    if spots.intensity is None:
        return None
    on_lattice = lattice.index_spots(spots.q_inv_angstrom).on_lattice
    hk = np.rint(spots.q_inv_angstrom @ np.linalg.inv(lattice.basis))
    sublattices = list_sublattices(range(2, MAX_SUPERCELL + 1))
    # One sublattice after another: with 100,000 points, all at once would take a gigabyte.
    on_sublattice = np.stack([on_lattice & _is_whole(hk @ each) for each in np.linalg.inv(sublattices)])
    share = on_sublattice @ spots.intensity / max(float(spots.intensity[on_lattice].sum()), 1e-300)
    usable = (share > MIN_PARENT_INTENSITY) & (on_sublattice.sum(axis=1) >= MIN_PARENT_SPOTS)
    if not usable.any():
        return None
    best = np.lexsort((share, np.abs(np.linalg.det(sublattices)) * usable))[-1]
    return np.asarray(on_sublattice[best] | ~on_lattice)


def _is_whole(hk: FloatArray) -> BoolArray:
    """Return which indices (N, 2) are integers."""
    return np.asarray((np.abs(hk - np.rint(hk)) < 1e-6).all(axis=1))


def explains_parent_spots(match: Match) -> bool:
    """Whether a crystal explains the spots that remain without those of the superlattice."""
    return match.r_factor is not None and match.r_factor < MAX_R_FACTOR and match.missing < MAX_MISSING


def count_superlattice_spots(match: Match, lattice: PatternLattice, second: PatternLattice | None) -> int:
    """Count the spots that a crystal does not explain and that lie on a superlattice of it.

    Args:
        match: of the crystal.
        lattice: the pattern's lattice, which may be the superlattice.
        second: the superlattice, where it is the lattice of the spots that are not on the first.
    """
    reflections = match.reflections
    computed = reflections.q_computed[: reflections.spots]
    explained = ~np.isnan(computed[:, 0])
    if not explained.any():
        return 0
    extra = reflections.q_measured[: reflections.spots][~explained]
    hk = reflections.hk[: reflections.spots][explained].astype(np.float64)
    basis = np.linalg.lstsq(hk, computed[explained])[0]
    on_superlattice = np.zeros(len(extra), dtype=bool)
    if abs(float(np.linalg.det(basis))) > _FINER * abs(float(np.linalg.det(lattice.basis))):
        on_superlattice |= lattice.index_spots(extra).on_lattice
    if second is not None:
        on_superlattice |= second.index_spots(extra).on_lattice
    return int(on_superlattice.sum())
