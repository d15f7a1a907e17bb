"""From a pattern to ranked crystals: the search shared by the command line, the service, tests and benchmarks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import Composition
from index.chemistry.elements import ElementFilter
from index.encoder import Encoder
from index.search.known_scale import KnownScaleSearch
from index.search.opened_index import OpenedIndex
from index.search.other_scales import OtherScaleSearch
from index.search.query import COVERAGE, Effort, SearchQuery
from index.search.results import Candidate, SearchResult
from index.search.superlattice import SuperlatticeSearch, warn_of_superlattice
from index.search.two_lattices import TwoLatticeSearch
from index.search.unknown_scale import UnknownScaleSearch
from index.storage.canary import check_canary_candidates
from index.storage.catalog import Entry
from index.storage.components import AppendedCrystals, Components
from index.storage.versions import Version, find_current_version
from model.errors import OptionError
from model.indexing.picked_lattice import refine_picked_lattice
from model.matching import depth
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.stopwatch import Stopwatch


class Retriever:
    """Searches an opened index; safe to use from several threads at once. Use `Retriever.open`."""

    def __init__(self, version: Version, components: Components, encoder: Encoder) -> None:
        self.manifest = version.manifest
        self.components = components
        self._version = version
        self._index = OpenedIndex(version.manifest, components, encoder)
        self._known_scale = KnownScaleSearch(self._index)
        self._unknown_scale = UnknownScaleSearch(self._index)
        self._two_lattices = TwoLatticeSearch(self._index, self._known_scale)
        self._superlattice = SuperlatticeSearch(self._known_scale)
        self._other_scales = OtherScaleSearch(self._index, self._unknown_scale)

    @classmethod
    def open(cls, directory: Path, encoder: Encoder) -> Self:
        """Check the current version of an index against its digests and its canary, and open it read-only.

        Args:
            directory: the index, or one version of it.
            encoder: the weights that made it.

        Raises:
            IndexUnavailableError: missing, damaged, or built with other weights; the message names both.
        """
        version = find_current_version(directory)
        version.manifest.check_encoder(encoder)
        version.check_files()
        opened = cls(version, Components.open(version.folder, version.manifest), encoder)
        try:
            opened.check_canary()
        except BaseException:
            opened.close()
            raise
        return opened

    def append(self, crystals: AppendedCrystals) -> "Retriever":
        """Return a retriever that also searches these crystals; closing either closes the files of both."""
        return Retriever(self._version, self.components.append(crystals), self._index.encoder)

    def check_canary(self) -> None:
        """Compare the answer to the canary pattern with the one of the build; IndexDamagedError if they differ."""
        check_canary_candidates(self.manifest, self.components, self._index.encoder)

    def check_integrity(self) -> Iterator[int]:
        """Check files, memory and canary; yield the bytes of each piece read; IndexDamagedError if one is damaged."""
        yield from self._version.check_files_slowly()
        yield from self.components.check_memory()
        self.check_canary()

    def close(self) -> None:
        """Close the files."""
        self.components.base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.components.catalog)

    @property
    def user_structure_count(self) -> int:
        """Number of user structures searched in addition to the crystals of the index."""
        return self._index.user_structure_count

    def get_entry(self, id: str) -> Entry:
        """Return the crystal with this id.

        Raises:
            KeyError: there is none.
        """
        return self.components.catalog.get_entry(id)

    def list_duplicates(self, id: str) -> tuple[str, ...]:
        """Return the ids of a crystal's duplicates; KeyError if no crystal has this id."""
        catalog = self.components.catalog
        return catalog.list_duplicates([catalog.find_row(id)])[0]

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """Return (P, D) vectors, one for each of P patterns; a service embeds several requests at once."""
        return self._index.embed(spots, voltage_kv)

    def search(
        self,
        spots: Spots,
        *,
        voltage_kv: float = 80.0,
        elements: ElementFilter | None = None,
        top_k: int = 10,
        effort: Effort = "search",
        coverage: float = COVERAGE,
        composition: Composition | None = None,
        vector: NDArray[np.float32] | None = None,
        lattice: NDArray[np.float64] | None = None,
    ) -> SearchResult:
        """Return the crystals that may have produced a pattern, best first.

        Args:
            spots: the pattern. Without intensities it is compared by its geometry alone; without a scale each crystal
                is compared at the scale that the pattern's lattice implies for it.
            voltage_kv: accelerating voltage.
            elements: condition on the elements of the crystals.
            top_k: number of different crystals requested; fewer are returned where fewer are admitted.
            effort: "search" ranks by similarity alone; "verify" and "full" compare the first candidates, and those
                whose lattice fits, with the pattern and rank by the result.
            coverage: share of cases in which the confidence set has to contain the crystal.
            composition: measured atomic fractions; crystals far from them are excluded, the others are ranked the
                higher the nearer they are.
            vector: (D,) the pattern's vector, where `embed` has made it already.
            lattice: (2, 2) rows a* and b* that the user picked, 1/angstrom, in place of the lattice found from the
                spots. Only crystals that fit this lattice are candidates, if there are any.

        Raises:
            OptionError: `top_k` is below 1, or the picked lattice does not fit the spots.
        """
        if top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}.")
        admission = self._index.admit(elements, composition)
        picked = None
        if lattice is not None:
            picked = refine_picked_lattice(Observation.from_spots(spots, voltage_kv), lattice)
        query = SearchQuery(
            spots, voltage_kv, top_k, effort, coverage, elements, composition, admission, picked
        )
        return self._run_strategies(query, vector)

    def _run_strategies(self, query: SearchQuery, vector: NDArray[np.float32] | None) -> SearchResult:
        """Search for one crystal at the stated scale, then try what may explain the pattern better."""
        only_similarity, scale_is_known = query.effort == "search", query.spots.scale_is_known
        # Two crystals may meet the conditions together, one for each lattice, though no single crystal does.
        if query.admission.is_empty and (only_similarity or not scale_is_known):
            return SearchResult((), {}, "no_match")
        if not scale_is_known:
            return self._unknown_scale.search(query)
        result = self._known_scale.search(query, vector)
        if only_similarity:
            return result
        of_two_lattices = self._two_lattices.search(query, result)
        if of_two_lattices is not None:
            return of_two_lattices
        if query.admission.is_empty:
            return replace(result, verdict="no_match")
        for strategy in (self._superlattice, self._other_scales):
            better = strategy.search(query, result)
            if better is not None:
                return better
        return warn_of_superlattice(query, result)

    def find_candidates(
        self, spots: Spots, *, voltage_kv: float, effort: depth.VerificationEffort
    ) -> tuple[Candidate, ...]:
        """Return the candidates that a search at a known scale verifies."""
        query = SearchQuery(spots, voltage_kv, top_k=1, effort=effort)
        return self._known_scale.find_candidates(query, Stopwatch())[0]
