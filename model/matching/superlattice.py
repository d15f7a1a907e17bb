"""Weak spots between those of a crystal: a wave of charge, an order of vacancies or of other atoms.

They lie on a lattice of which the crystal's own points are a part; a second layer has such a lattice but by chance.
"""

import numpy as np
from numpy.typing import NDArray

from model.indexing.lattice_table import sublattices
from model.indexing.pattern_lattice import PatternLattice
from model.matching.match import Match
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_SUPERCELL = 13
"""Cells of the crystal in one of its superstructure, at most."""
STRONG_SHARE = 0.9
"""Of the intensity, what the spots that a crystal has without its superstructure carry at least."""
MIN_PARENT_SPOTS, MIN_SUPERLATTICE_SPOTS = 10, 5
SUPERLATTICE_PROBABILITY_FACTOR = 0.8
"""What a probability is worth where spots were left aside as those of a superstructure."""
# The R-factor and the share of missing beams that the explanation of a crystal without its superstructure has at most.
_WELL_FITTED, _FEW_MISSING = 0.15, 0.2
# Basis vectors of two lattices this near to points of each other are on them.
_SAME_POINT_INV_ANGSTROM = 0.008
# Lattices of which one has so many points more are not the same.
_FINER = 1.5


def is_superlattice(spots: Spots, lattice: PatternLattice, second: PatternLattice) -> bool:
    """Whether the lattice of what a first leaves of a pattern is that of its superstructure, or the first itself.

    Args:
        spots: the pattern.
        lattice: its first.
        second: that of the spots which are not on the first.
    """
    change = lattice.basis @ np.linalg.inv(second.basis)
    whole = np.rint(change)
    off = np.linalg.norm((change - whole) @ second.basis, axis=1).max()
    index = abs(round(float(np.linalg.det(whole))))
    if off > _SAME_POINT_INV_ANGSTROM or not 1 <= index <= MAX_SUPERCELL:
        return False
    if spots.intensity is None or index == 1:
        return True
    left = (
        second.index_spots(spots.q_inv_angstrom).on_lattice
        & ~lattice.index_spots(spots.q_inv_angstrom).on_lattice
    )
    return float(spots.intensity[left].sum()) < (1 - STRONG_SHARE) * float(spots.intensity.sum())


def select_parent_spots(spots: Spots, lattice: PatternLattice) -> BoolArray | None:
    """(N,) the spots but for those that a superstructure may have added; None where a lattice shows no such.

    What lies on a coarser lattice carries nearly all of the intensity then. Of several the one of the fewest points
    counts. Spots on no lattice are kept: they speak against any crystal.

    Args:
        spots: the pattern.
        lattice: its own.
    """
    if spots.intensity is None:
        return None
    met = lattice.index_spots(spots.q_inv_angstrom).on_lattice
    hk = np.rint(spots.q_inv_angstrom @ np.linalg.inv(lattice.basis))
    coarser = sublattices(range(2, MAX_SUPERCELL + 1))
    # An index of the fine lattice is one of the coarse if it is whole there too. One after another: of 100,000 points
    # all at once would take a gigabyte.
    on = np.stack([met & _whole(hk @ each) for each in np.linalg.inv(coarser)])
    share = on @ spots.intensity / max(float(spots.intensity[met].sum()), 1e-300)
    usable = (share > STRONG_SHARE) & (on.sum(axis=1) >= MIN_PARENT_SPOTS)
    if not usable.any():
        return None
    best = np.lexsort((share, np.abs(np.linalg.det(coarser)) * usable))[-1]
    return np.asarray(on[best] | ~met)


def _whole(hk: FloatArray) -> BoolArray:
    """(N,) whether indices (N, 2) are integers."""
    return np.asarray((np.abs(hk - np.rint(hk)) < 1e-6).all(axis=1))


def explains_parent_spots(match: Match) -> bool:
    """Whether a crystal explains what is left of a pattern without the spots of a superstructure."""
    return match.r_factor is not None and match.r_factor < _WELL_FITTED and match.missing < _FEW_MISSING


def count_superlattice_spots(match: Match, lattice: PatternLattice, second: PatternLattice | None) -> int:
    """How many spots that a crystal does not explain are those of a superlattice of its own.

    Args:
        match: of the crystal.
        lattice: of the pattern; it may be the superlattice.
        second: the superlattice, where it is that of the spots which the first leaves.
    """
    beams = match.reflections
    explained = ~np.isnan(beams.q_computed[: beams.spots, 0])
    if not explained.any():
        return 0
    left = beams.q_measured[: beams.spots][~explained]
    own = np.linalg.lstsq(
        beams.hk[: beams.spots][explained].astype(np.float64), beams.q_computed[: beams.spots][explained]
    )[0]
    on = np.zeros(len(left), dtype=bool)
    if abs(float(np.linalg.det(own))) > _FINER * abs(float(np.linalg.det(lattice.basis))):
        on |= lattice.index_spots(left).on_lattice
    if second is not None:
        on |= second.index_spots(left).on_lattice
    return int(on.sum())
