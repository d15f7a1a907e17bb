"""Which crystals of a library are the same, across sources and descriptions."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.crystal.crystal import Crystal
from model.crystal.reduction import TRANSLATION_TOLERANCE_ANGSTROM
from model.crystal.site_matching import Family, Tolerance

SAME = Tolerance()
# Wide enough for other functionals' relaxations, and for faint superstructures of the same layer.
RELATED = Tolerance(length_fraction=0.1, angle_deg=6.0, site_fraction=0.2, translation_angstrom=0.25)


def is_same_crystal(one: Crystal, other: Crystal, tolerance: Tolerance = SAME) -> bool:
    """Whether two crystals are the same up to relaxation, rotation, mirror, face, origin and choice of cell.

    Args:
        one: a crystal.
        other: another.
        tolerance: how far they may differ.
    """
    one, other = _folded(one, tolerance), _folded(other, tolerance)
    if not np.array_equal(one.numbers, other.numbers):
        return False
    return bool(Family([one, other], tolerance).matches(0, np.array([1]))[0])


def find_first_duplicate(
    crystal: Crystal, founders: Sequence[Crystal], tolerance: Tolerance = SAME
) -> int | None:
    """Which group a crystal comes to when it comes after all the others, as `group_duplicates` decides it.

    Args:
        crystal: the one that comes.
        founders: the first crystal of each group, in the order of the groups.
        tolerance: how far crystals of one group may differ.

    Returns:
        The place of the first founder that is the same crystal; None where none is.
    """
    one = _folded(crystal, tolerance)
    forms = [_folded(founder, tolerance) for founder in founders]
    alike = [place for place, form in enumerate(forms) if np.array_equal(form.numbers, one.numbers)]
    if not alike:
        return None
    family = Family([*(forms[place] for place in alike), one], tolerance)
    same = np.flatnonzero(family.matches(len(alike), np.arange(len(alike))))
    return alike[int(same[0])] if len(same) else None


def _folded(crystal: Crystal, tolerance: Tolerance) -> Crystal:
    if tolerance.translation_angstrom <= TRANSLATION_TOLERANCE_ANGSTROM:
        return crystal
    return crystal.fold_superlattice(tolerance.translation_angstrom)


def group_duplicates(
    crystals: Sequence[Crystal], tolerance: Tolerance = SAME, *, chained: bool = False
) -> list[int]:
    """The group of each crystal; crystals of one group are the same.

    Args:
        crystals: any number.
        tolerance: how far crystals of one group may differ.
        chained: False, every member is the same as the first of its group, which is what an answer may call
            the same. True, groups also merge when any two of their members are the same, so that no pair of
            duplicates ever lies in two groups: with `RELATED`, what a split of training and test data needs.

    Returns:
        Group numbers, counted from 0 in order of first appearance.
    """
    forms = [[_folded(crystal, tolerance) for crystal in crystals]]
    if chained and tolerance.translation_angstrom > TRANSLATION_TOLERANCE_ANGSTROM:
        forms.append(list(crystals))  # of two equal superstructures one may fold and the other just not
    links = [link for form in forms for link in _links(form, tolerance, chained)]
    ends = np.array([(index, index) for index in range(len(crystals))] + links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(crystals), len(crystals)))
    labels = connected_components(graph, directed=False)[1]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels.tolist()]


def _links(crystals: Sequence[Crystal], tolerance: Tolerance, chained: bool) -> Iterator[tuple[int, int]]:
    """Pairs of equal crystals; unless chained, each crystal's only one is to the founder of its group."""
    families: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, crystal in enumerate(crystals):
        families[crystal.numbers.tobytes()].append(index)
    for members in families.values():
        if len(members) == 1:
            continue
        family = Family([crystals[index] for index in members], tolerance)
        founders = [0]
        for one in range(1, family.size):
            same = np.flatnonzero(family.matches(one, np.array(founders)))
            yield from ((members[one], members[founders[other]]) for other in same[: None if chained else 1])
            if chained or not len(same):
                founders.append(one)
