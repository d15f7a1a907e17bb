"""Search without the weak spots of a superlattice, and the warning about spots that lie on one."""

from dataclasses import replace

from index.search.known_scale import KnownScaleSearch
from index.search.query import SearchQuery
from index.search.results import SearchResult
from model.matching.overlapping_lattices import MAX_FALSE_SHARE, find_second_lattice
from model.matching.superlattice import (
    MIN_SUPERLATTICE_SPOTS,
    SUPERLATTICE_PROBABILITY_FACTOR,
    count_superlattice_spots,
    explains_parent_spots,
    is_superlattice,
    select_parent_spots,
)

_IGNORED_SPOTS = (
    "{count} weak spots between those of the candidates were ignored: they form a superlattice (a charge-density wave, "
    "ordered vacancies or ordered substitution) that the candidates do not have."
)
_UNEXPLAINED_SPOTS = (
    "{count} spots that the first candidate does not explain lie on a superlattice (a charge-density wave, ordered "
    "vacancies or ordered substitution) that it does not have."
)


class SuperlatticeSearch:
    """Searches without the weak spots of a superlattice if no crystal explains the pattern with them."""

    def __init__(self, known_scale: KnownScaleSearch) -> None:
        self._known_scale = known_scale

    def search(self, query: SearchQuery, result: SearchResult) -> SearchResult | None:
        """Return the candidates for the spots that do not belong to the superlattice alone.

        Args:
            query: the request.
            result: of the search with all spots.

        Returns:
            None if a crystal explains all spots, they form no superlattice, or no crystal fits without it either.
        """
        if result.verdict != "no_match" or result.lattice is None:
            return None
        kept = select_parent_spots(query.spots, result.lattice)
        if kept is None or kept.all():
            return None
        parent = self._known_scale.search(replace(query, spots=query.spots.take(kept), picked_lattice=None))
        match = parent.best_match
        if parent.verdict == "no_match" or match is None or not explains_parent_spots(match):
            return None
        warning = _IGNORED_SPOTS.format(count=int((~kept).sum()))
        parent = replace(parent, lattice=result.lattice)
        return parent.reduce_probabilities(SUPERLATTICE_PROBABILITY_FACTOR, warning)


def warn_of_superlattice(query: SearchQuery, result: SearchResult) -> SearchResult:
    """Add a warning if spots that the first candidate does not explain lie on a superlattice."""
    lattice, match = result.lattice, result.best_match
    if lattice is None or match is None or match.extra < MAX_FALSE_SHARE:
        return result
    second = find_second_lattice(query.spots, lattice, query.voltage_kv)
    if second is not None and not is_superlattice(query.spots, lattice, second):
        second = None
    count = count_superlattice_spots(match, lattice, second)
    if count < MIN_SUPERLATTICE_SPOTS:
        return result
    return replace(result, warnings=(*result.warnings, _UNEXPLAINED_SPOTS.format(count=count)))
