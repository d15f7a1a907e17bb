"""Search for a pattern with two lattices: two layers of a twisted pair, or two flakes in the beam."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

from index.chemistry.elements import ElementFilter
from index.search.known_scale import KnownScaleSearch
from index.search.opened_index import OpenedIndex
from index.search.query import SearchQuery
from index.search.results import Candidate, SearchResult
from model.matching.next_measurement import NextMeasurement
from model.matching.overlapping_lattices import MAX_FALSE_SHARE, OverlappingLattices, Twist

# How many candidates of each lattice are combined into pairs.
MAX_PAIRED = 20
# A candidate with more of its reflections missing does not explain the pattern.
_MAX_MISSING = 0.5
_MIN_LOG_SHARE = -20.0
_WARNING = (
    "The spots belong to two lattices: two layers, or two flakes in the beam. Candidates for both are listed: "
    "`lattice_number` states which lattice a candidate explains, `query.twists` the twist angle."
)


class TwoLatticeSearch:
    """Searches for each of two lattices separately if no single crystal explains the spots of both."""

    def __init__(self, index: OpenedIndex, known_scale: KnownScaleSearch) -> None:
        self._index = index
        self._known_scale = known_scale

    def search(self, query: SearchQuery, result: SearchResult) -> SearchResult | None:
        """Return the candidates of both lattices.

        Args:
            query: the request.
            result: of the search for a single crystal.

        Returns:
            None if one crystal explains the pattern, where it has no second lattice, or where no pair of crystals
            meets the conditions of the request.
        """
        if result.lattice is None or _is_explained(result):
            return None
        overlapping = OverlappingLattices.find(query.spots, result.lattice, query.voltage_kv)
        if overlapping is None:
            return None
        results = [self._search_one(replace(query, spots=spots)) for spots in overlapping.spots]
        if all(each.verdict == "no_match" for each in results) or not all(
            each.candidates for each in results
        ):
            return None
        return combine_results(results, overlapping, query)

    def _search_one(self, query: SearchQuery) -> SearchResult:
        """Search the spots of one lattice; conditions that the pair has to meet together are not applied."""
        elements = query.elements
        if elements is not None:
            elements = ElementFilter(only=elements.only, none=elements.none)
        return self._known_scale.search(
            replace(
                query,
                admission=self._index.admit(elements),
                top_k=max(query.top_k, MAX_PAIRED),
                picked_lattice=None,
            )
        )


def _is_explained(result: SearchResult) -> bool:
    """Return whether the first match leaves few spots and misses few reflections."""
    match = result.best_match
    return match is not None and match.extra < MAX_FALSE_SHARE and match.missing < _MAX_MISSING


def combine_results(
    results: Sequence[SearchResult], overlapping: OverlappingLattices, query: SearchQuery
) -> SearchResult | None:
    """Merge the candidates of two lattices: first the most probable pair that meets all conditions, then the others.

    Args:
        results: of the searches for either lattice.
        overlapping: the two lattices.
        query: its elements and composition are those of the pair, whatever the share of either crystal.

    Returns:
        None if no pair meets the conditions.
    """
    # A confidence set is one of a single crystal.
    first, second = (
        [replace(candidate, lattice_number=number, in_confidence_set=None) for candidate in result.candidates]
        for number, result in enumerate(results, start=1)
    )
    pair = _find_pair(first, second, query)
    if pair is None:
        return None
    for candidates, place in zip((first, second), pair, strict=True):
        candidates.insert(0, candidates.pop(place))
    others = [
        (_compute_log_share(candidates, place), place, candidate)
        for candidates in (first, second)
        for place, candidate in enumerate(candidates)
        if place
    ]
    # The order within each lattice is kept; between them the more probable candidate goes first.
    others.sort(key=lambda other: (-other[0], other[1]))
    merged = [first[0], second[0], *(candidate for _, _, candidate in others)]
    verdicts = {result.verdict for result in results}
    return SearchResult(
        candidates=tuple(merged[: query.top_k]),
        timing_ms=_add_timings(results),
        verdict=None if None in verdicts else "match" if verdicts == {"match"} else "ambiguous",
        lattice=overlapping.lattices[0],
        next_measurement=_choose_next_measurement(results),
        warnings=(_WARNING,),
        overlapping_lattices=overlapping,
        twist=_find_twist(first[0], second[0]),
    )


def _find_pair(
    first: Sequence[Candidate], second: Sequence[Candidate], query: SearchQuery
) -> tuple[int, int] | None:
    """Return the places of the most probable pair that meets the conditions of the request."""
    pairs = [
        (place, other_place)
        for place, candidate in enumerate(first[:MAX_PAIRED])
        for other_place, other in enumerate(second[:MAX_PAIRED])
        if _meets_conditions({*candidate.entry.elements, *other.entry.elements}, query)
    ]
    if not pairs:
        return None
    return max(
        pairs, key=lambda pair: _compute_log_share(first, pair[0]) + _compute_log_share(second, pair[1])
    )


def _meets_conditions(elements: set[str], query: SearchQuery) -> bool:
    """Return whether two crystals with these elements together meet the conditions on elements and composition."""
    if query.elements is not None and not query.elements.admits(elements):
        return False
    return query.composition is None or elements.issuperset(query.composition.fractions)


def _compute_log_share(candidates: Sequence[Candidate], place: int) -> float:
    """Return ln of a candidate's share of the probability; without probabilities a number that follows its place."""
    total = sum(candidate.probability or 0.0 for candidate in candidates)
    probability = candidates[place].probability
    return _MIN_LOG_SHARE - place if not probability else max(log(probability / total), _MIN_LOG_SHARE)


def _add_timings(results: Sequence[SearchResult]) -> dict[str, float]:
    return {
        stage: sum(result.timing_ms.get(stage, 0.0) for result in results) for stage in results[0].timing_ms
    }


def _choose_next_measurement(results: Sequence[SearchResult]) -> NextMeasurement | None:
    """Return the next measurement of the first lattice that has one."""
    for number, result in enumerate(results, start=1):
        measurement = result.next_measurement
        if measurement is not None:
            return replace(measurement, advice=f"For lattice {number}: {measurement.advice}")
    return None


def _find_twist(first: Candidate, second: Candidate) -> Twist | None:
    """Return the twist angle between two candidates; None if one of them has no match."""
    if first.match is None or second.match is None:
        return None
    return Twist.between((first.entry.crystal, second.entry.crystal), (first.match, second.match))
