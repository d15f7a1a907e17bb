"""Duplicates in a library: crystals that are the same across sources and descriptions."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.crystal.crystal import Crystal
from model.crystal.reduction import TRANSLATION_TOLERANCE_ANGSTROM
from model.crystal.site_matching import SiteMatcher, Tolerance

SAME = Tolerance()
# Wide enough for relaxations with another density functional and for weak superlattices of the same layer.
RELATED = Tolerance(length_fraction=0.1, angle_deg=6.0, site_fraction=0.2, translation_angstrom=0.25)


def is_same_crystal(one: Crystal, other: Crystal, tolerance: Tolerance = SAME) -> bool:
    """Return whether two crystals are equal except for relaxation, rotation, mirror, face, origin and choice of cell.

    Args:
        one: a crystal.
        other: another.
        tolerance: how far they may differ.
    """
    one, other = _fold(one, tolerance), _fold(other, tolerance)
    if not np.array_equal(one.numbers, other.numbers):
        return False
    return bool(SiteMatcher([one, other], tolerance).match(0, np.array([1]))[0])


def find_first_duplicate(
    crystal: Crystal, founders: Sequence[Crystal], tolerance: Tolerance = SAME
) -> int | None:
    """Return the group that a new crystal joins, as if `group_duplicates` had received it last.

    Args:
        crystal: the new crystal.
        founders: the first crystal of each group, in the order of the groups.
        tolerance: how far crystals of one group may differ.

    Returns:
        The position of the first founder that is the same crystal; None if there is none.
    """
    one = _fold(crystal, tolerance)
    forms = [_fold(founder, tolerance) for founder in founders]
    rows = [row for row, form in enumerate(forms) if np.array_equal(form.numbers, one.numbers)]
    if not rows:
        return None
    matcher = SiteMatcher([*(forms[row] for row in rows), one], tolerance)
    same = np.flatnonzero(matcher.match(len(rows), np.arange(len(rows))))
    return rows[int(same[0])] if len(same) else None


def _fold(crystal: Crystal, tolerance: Tolerance) -> Crystal:
    if tolerance.translation_angstrom <= TRANSLATION_TOLERANCE_ANGSTROM:
        return crystal
    return crystal.fold_superlattice(tolerance.translation_angstrom)


def group_duplicates(
    crystals: Sequence[Crystal], tolerance: Tolerance = SAME, *, chained: bool = False
) -> list[int]:
    """Return the group number of each crystal, from 0 in order of first appearance; crystals of one group are the same.

    Args:
        crystals: any number.
        tolerance: how far crystals of one group may differ.
        chained: if False, every member equals the first crystal of its group, as the duplicates in an answer must.
            If True, groups merge as soon as any two of their members are equal, so that no two duplicates are in
            different groups; with `RELATED` this suits a split of training and test data.
    """
    forms = [[_fold(crystal, tolerance) for crystal in crystals]]
    if chained and tolerance.translation_angstrom > TRANSLATION_TOLERANCE_ANGSTROM:
        forms.append(list(crystals))  # of two equal superlattices only one may fold within the tolerance
    links = [link for form in forms for link in _find_links(form, tolerance, chained)]
    ends = np.array([(index, index) for index in range(len(crystals))] + links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(crystals), len(crystals)))
    labels = connected_components(graph, directed=False)[1]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels.tolist()]


def _find_links(
    crystals: Sequence[Crystal], tolerance: Tolerance, chained: bool
) -> Iterator[tuple[int, int]]:
    """Yield pairs of equal crystals; unless chained, each crystal is linked to the founder of its group only."""
    families: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, crystal in enumerate(crystals):
        families[crystal.numbers.tobytes()].append(index)
    for members in families.values():
        if len(members) == 1:
            continue
        matcher = SiteMatcher([crystals[index] for index in members], tolerance)
        founders = [0]
        for one in range(1, len(members)):
            same = np.flatnonzero(matcher.match(one, np.array(founders)))
            yield from ((members[one], members[founders[other]]) for other in same[: None if chained else 1])
            if chained or not len(same):
                founders.append(one)
