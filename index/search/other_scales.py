"""Search at scales other than the stated one, which may be wrong."""

from dataclasses import replace
from math import log

from index.search.opened_index import OpenedIndex
from index.search.query import SearchQuery
from index.search.results import SearchResult
from index.search.unknown_scale import UnknownScaleSearch
from model.matching.scale_check import (
    MAX_LOG_SCALE_DEVIATION,
    compute_probability_factor,
    describe_scale_deviation,
    explains_better,
    is_scale_doubtful,
)
from model.stopwatch import Stopwatch


class OtherScaleSearch:
    """Searches at scales around the stated one if that explains the pattern poorly or the effort is "full"."""

    def __init__(self, index: OpenedIndex, unknown_scale: UnknownScaleSearch) -> None:
        self._index = index
        self._unknown_scale = unknown_scale

    def search(self, query: SearchQuery, result: SearchResult) -> SearchResult | None:
        """Return the candidates at another scale.

        Args:
            query: the request.
            result: of the search at the stated scale.

        Returns:
            None if no other scale explains the pattern far better.
        """
        if (
            query.effort == "verify"
            and result.verdict != "no_match"
            and not is_scale_doubtful(result.best_match)
        ):
            return None
        # The gain of the right scale shows among the first few candidates, so a full search only confirms it.
        rescaled = self._search_once(replace(query, effort="verify"), result)
        if rescaled is None or query.effort == "verify":
            return rescaled
        return self._search_once(query, result)

    def _search_once(self, query: SearchQuery, result: SearchResult) -> SearchResult | None:
        """Return the candidates at other scales, if they explain the pattern far better than the result."""
        rescaled = self._unknown_scale.search_within(
            MAX_LOG_SCALE_DEVIATION, query, result.lattice, Stopwatch()
        )
        match = rescaled.best_match
        if rescaled.verdict == "no_match" or match is None or not explains_better(match, result.best_score):
            return None
        if abs(log(match.scale)) < self._index.find_scale_tolerance(query.spots):
            return None
        return rescaled.reduce_probabilities(
            compute_probability_factor(match.scale), describe_scale_deviation(match.scale)
        )
