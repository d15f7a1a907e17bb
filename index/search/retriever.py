"""From a pattern to ranked crystals: the one path for CLI, tests, benchmarks and HTTP."""

from collections.abc import Sequence
from dataclasses import replace
from math import hypot, log
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import Composition
from index.chemistry.elements import Bitmap, ElementFilter
from index.encoder import Encoder
from index.search.query import COVERAGE, Effort, SearchQuery
from index.search.results import Candidate, SearchResult
from index.search.timing import Timing
from index.search.two_lattices import MOST_PAIRED, interleaved
from index.search.unknown_scale import at_best_scale, scales_of
from index.search.verification import verified
from index.storage.catalog import Entry
from index.storage.components import AppendedCrystals, Components
from index.storage.manifest import Manifest
from index.storage.publish import version_folder
from model.errors import IndexUnavailableError, OptionError
from model.indexing.pattern_lattice import PatternLattice
from model.indexing.picked_lattice import refine_picked_lattice
from model.matching import depth
from model.matching.confidence import CALIBRATIONS
from model.matching.fitting.priors import CELL_SIGMA
from model.matching.overlapping_lattices import MAX_FALSE_SHARE, OverlappingLattices, find_second_lattice
from model.matching.place_candidates import compute_scale_tolerance
from model.matching.scale_check import (
    MAX_LOG_SCALE_DEVIATION,
    compute_probability_factor,
    describe_scale_deviation,
    explains_better,
    is_scale_doubtful,
)
from model.matching.superlattice import (
    MIN_SUPERLATTICE_SPOTS,
    SUPERLATTICE_PROBABILITY_FACTOR,
    count_superlattice_spots,
    explains_parent_spots,
    is_superlattice,
    select_parent_spots,
)
from model.matching.verify import SIMILARITY_WEIGHT, ScalePrior
from model.pattern.observation import Observation
from model.pattern.spots import Spots

# One search for so many rows a candidate usually leaves enough when crystals that are the same come together.
_OVERFETCH = 3
# A candidate of which more beams are missing explains no pattern.
MOST_MISSING = 0.5
_SUPERLATTICE = (
    "{count} spots that the first candidate does not explain lie on a superlattice: a superstructure (a wave of "
    "charge, an order of vacancies or of other atoms) that it does not have."
)
_SUPERSTRUCTURE = (
    "{left} spots, weak ones between those of the candidates, were left aside: a superstructure (a wave of charge, an "
    "order of vacancies or of other atoms) that the candidates do not have."
)


class Retriever:
    """An opened index with the model that made it; searching is safe from several threads at once.

    Use `Retriever.open`.
    """

    def __init__(self, manifest: Manifest, components: Components, encoder: Encoder) -> None:
        if components.vectors.dimension != encoder.dimension:
            raise IndexUnavailableError(
                f"the index has vectors of {components.vectors.dimension} numbers, the model makes "
                f"{encoder.dimension}"
            )
        self.manifest = manifest
        self.components = components
        self._catalog = components.catalog
        self._vectors = components.vectors
        self._bits = components.bits
        self._encoder = encoder
        self._lattices = components.lattices
        self._compositions = components.compositions

    @classmethod
    def open(cls, directory: Path, encoder: Encoder) -> Self:
        """Open the version in use of an index, read-only.

        Args:
            directory: what `build_index` wrote to, or one version in it.
            encoder: the weights that made it.

        Raises:
            IndexUnavailableError: missing, damaged, or made by other weights; the message names both.
        """
        folder = version_folder(directory)
        manifest = Manifest.read(folder)
        manifest.check_encoder(encoder)
        manifest.check_sizes(folder)
        return cls(manifest, Components.open(folder, manifest), encoder)

    def extended(self, extra: AppendedCrystals) -> "Retriever":
        """This index with more crystals behind its own, as one; its files stay this one's to close."""
        return Retriever(self.manifest, self.components.extended(extra), self._encoder)

    def close(self) -> None:
        """Let go of the files, also for what was extended from this."""
        self.components.base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._catalog)

    @property
    def added(self) -> int:
        """How many crystals lie behind those of the index."""
        return len(self) - self.manifest.crystals

    def entry(self, id: str) -> Entry:
        """The crystal with this id.

        Raises:
            KeyError: there is none.
        """
        return self._catalog.entry(id)

    def same_as(self, id: str) -> tuple[str, ...]:
        """Ids of the others that are the same crystal as this one.

        Raises:
            KeyError: there is none.
        """
        return self._catalog.same_as(self._catalog.row(id))

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
        """The crystals most like a pattern.

        Args:
            spots: the pattern; without intensities it is placed by its geometry alone, without a scale each crystal
                is met at the scale that the pattern's lattice implies for it.
            voltage_kv: accelerating voltage.
            elements: what the crystals may hold; the search itself is restricted, not its result.
            top_k: how many different crystals are wanted; fewer come back when fewer are admitted.
            effort: "search" ranks by the towers alone, "verify" and "full" hold their first candidates, and those
                that the pattern's own lattice fits, against the pattern and rank by that.
            coverage: in which share of cases the set of candidates has to hold the crystal.
            composition: measured atomic fractions; crystals far from them are no candidates, others are the likelier
                the nearer they are.
            vector: (D,) what `embed` made of the pattern, if it was embedded with others.
            lattice: (2, 2) rows a* and b* as the user has picked them, 1/angstrom, in place of those that the spots
                show. Only crystals that can have this lattice are candidates then, if there are any.

        Raises:
            OptionError: `top_k` below 1, or a picked lattice that is none of the spots'.
        """
        if top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}")
        allowed, bonus = self._known(elements, composition)
        picked = (
            None
            if lattice is None
            else refine_picked_lattice(Observation.from_spots(spots, voltage_kv), lattice)
        )
        query = SearchQuery(spots, voltage_kv, allowed, top_k, effort, coverage, bonus, picked)
        nothing_left = allowed is not None and not allowed.any()
        # Of two layers either may be admitted, though no crystal holds what both hold.
        if nothing_left and (effort == "search" or not spots.scale_is_known):
            return SearchResult((), {}, "no_match")
        if not spots.scale_is_known:
            timing = Timing()
            return self._search_scales(query, np.inf, query.lattice(), timing)
        found = self._search_known_scale(query, vector)
        if effort == "search":
            return found
        both = self._search_both(query, found, elements, composition)
        if both is not None:
            return both
        if nothing_left:
            return replace(found, verdict="no_match")
        other = self._search_parent(query, found) or self._search_other_scales(query, found)
        return other or self._told_of_superlattice(query, found)

    def _known(
        self, elements: ElementFilter | None, composition: Composition | None
    ) -> tuple[Bitmap | None, NDArray[np.float64] | None]:
        """Which crystals what is known of the chemistry admits, and what it adds to the similarity of each."""
        allowed = self._bits.select(elements) if elements else None
        if composition is None:
            return allowed, None
        likelihood = self._compositions.log_likelihood(composition)
        admitted = self._bits.packed(self._compositions.admitted(likelihood))
        weight = CALIBRATIONS["verify"].temperature / SIMILARITY_WEIGHT
        return admitted if allowed is None else admitted & allowed, weight * likelihood

    def find_candidates(self, spots: Spots, *, voltage_kv: float, effort: depth.Effort) -> list[Candidate]:
        """What a search at a known scale would verify: the nearest by the towers, and those of the lattice."""
        candidates, _ = self._candidates(SearchQuery(spots, voltage_kv, None, 1, effort), Timing())
        return list(candidates)

    def _search_known_scale(
        self, query: SearchQuery, vector: NDArray[np.float32] | None = None
    ) -> SearchResult:
        timing = Timing()
        candidates, lattice = self._candidates(query, timing, vector)
        if query.effort == "search":
            return SearchResult(candidates, timing.milliseconds)
        return verified(
            candidates, query, None, self._cell_sigma(candidates), lattice, self._admitted(query), timing
        )

    def _candidates(
        self, query: SearchQuery, timing: Timing, vector: NDArray[np.float32] | None = None
    ) -> tuple[tuple[Candidate, ...], PatternLattice | None]:
        """Candidates and, where they will be verified, the pattern's lattice."""
        if vector is None:
            (vector,) = self.embed([query.spots], [query.voltage_kv])
            timing.stop("embed")
        found = self._nearest(vector, query.allowed, query.pool, query.bonus)
        timing.stop("search")
        lattice = None
        if query.effort != "search":
            lattice = query.lattice()
            if lattice is not None:
                tolerance = self._scale_tolerance(query.spots)
                fitting = self._bits.packed(self._lattices.find_matches(lattice.basis, tolerance).crystal)
                if query.allowed is not None:
                    fitting &= query.allowed
                having = self._nearest(vector, fitting, query.pool, query.bonus)
                sure = query.picked is not None and len(having[1]) > 0
                found = having if sure else self._together(found, having)
            timing.stop("lattice")
        candidates = self._hits(found, query.bonus)
        timing.stop("collect")
        return candidates, lattice

    def _search_both(
        self,
        query: SearchQuery,
        found: SearchResult,
        elements: ElementFilter | None,
        composition: Composition | None,
    ) -> SearchResult | None:
        """A search for each of two lattices, where no single crystal explains the spots of both."""
        best = found.best
        if found.lattice is None:
            return None
        if best is not None and best.extra < MAX_FALSE_SHARE and best.missing < MOST_MISSING:
            return None
        overlap = OverlappingLattices.find(query.spots, found.lattice, query.voltage_kv)
        if overlap is None:
            return None
        # What both layers hold together, either need not.
        each = None if elements is None else ElementFilter(only=elements.only, none=elements.none)
        allowed = self._bits.select(each) if each else None
        wide = max(query.top_k, MOST_PAIRED)
        layers = [
            self._search_known_scale(
                replace(query, spots=spots, allowed=allowed, top_k=wide, bonus=None, picked=None)
            )
            for spots in overlap.spots
        ]
        if all(layer.verdict == "no_match" for layer in layers) or not all(
            layer.candidates for layer in layers
        ):
            return None
        return interleaved(layers, overlap, elements, composition, query.top_k)

    def _search_parent(self, query: SearchQuery, found: SearchResult) -> SearchResult | None:
        """A search without the weak spots of a superstructure, where no crystal has it.

        None where the pattern shows no such spots, or no crystal fits without them.
        """
        if found.verdict != "no_match" or found.lattice is None:
            return None
        rows = select_parent_spots(query.spots, found.lattice)
        if rows is None or rows.all():
            return None
        parent = self._search_known_scale(replace(query, spots=query.spots.take(rows), picked=None))
        if parent.verdict == "no_match" or parent.best is None or not explains_parent_spots(parent.best):
            return None
        told = _SUPERSTRUCTURE.format(left=int((~rows).sum()))
        return replace(parent, lattice=found.lattice).trusted(SUPERLATTICE_PROBABILITY_FACTOR, told)

    def _told_of_superlattice(self, query: SearchQuery, found: SearchResult) -> SearchResult:
        """The same, with a warning where spots that the first candidate does not explain are of a superlattice."""
        if found.lattice is None or found.best is None or found.best.extra < MAX_FALSE_SHARE:
            return found
        second = find_second_lattice(query.spots, found.lattice, query.voltage_kv)
        if second is not None and not is_superlattice(query.spots, found.lattice, second):
            second = None
        count = count_superlattice_spots(found.best, found.lattice, second)
        if count < MIN_SUPERLATTICE_SPOTS:
            return found
        return replace(found, warnings=(*found.warnings, _SUPERLATTICE.format(count=count)))

    def _search_other_scales(self, query: SearchQuery, found: SearchResult) -> SearchResult | None:
        """A search at other scales than the one given, where that explains the pattern poorly or there is time.

        None where no other explains it far better.
        """
        if query.effort == "verify" and found.verdict != "no_match" and not is_scale_doubtful(found.best):
            return None
        # What a wrong scale gains shows among the first few candidates.
        told = self._at_another_scale(replace(query, effort="verify"), found)
        return told if told is None or query.effort == "verify" else self._at_another_scale(query, found)

    def _at_another_scale(self, query: SearchQuery, found: SearchResult) -> SearchResult | None:
        """What is found at other scales, if that explains the pattern far better."""
        doubted = self._search_scales(query, MAX_LOG_SCALE_DEVIATION, found.lattice, Timing())
        other = doubted.best
        if doubted.verdict == "no_match" or other is None or not explains_better(other, found.score):
            return None
        if abs(log(other.scale)) < self._scale_tolerance(query.spots):
            return None
        return doubted.trusted(compute_probability_factor(other.scale), describe_scale_deviation(other.scale))

    def _search_scales(
        self, query: SearchQuery, doubt: float, lattice: PatternLattice | None, timing: Timing
    ) -> SearchResult:
        """A search among all scales within a doubt (of the logarithm), given the pattern's lattice."""
        spots = query.spots
        fitting = None if lattice is None else self._lattices.find_matches(lattice.basis, doubt)
        timing.stop("lattice")
        scales = scales_of(spots, doubt)
        if not len(scales):
            return SearchResult((), timing.milliseconds, "no_match", lattice)
        vectors = self.embed([spots.rescale(1 / scale) for scale in scales], [query.voltage_kv] * len(scales))
        timing.stop("embed")
        rows = self._bits.rows(query.allowed)
        similarity = vectors @ self._vectors.rows(rows).T
        if query.bonus is not None:
            similarity += query.bonus[rows].astype(np.float32)
        found = at_best_scale(similarity, scales, rows, fitting)
        best = self._different(found.row)[: query.pool]
        timing.stop("search")
        candidates = self._hits((found.similarity[best], found.row[best]), query.bonus)
        timing.stop("collect")
        if query.effort == "search":
            return SearchResult(candidates, timing.milliseconds, lattice=lattice)
        scale, cells = ScalePrior(doubt / 2, found.scale[best]), self._cell_sigma(candidates)
        return verified(candidates, query, scale, cells, lattice, self._admitted(query), timing)

    def _cell_sigma(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """(H,) rms error of the logarithm of the lengths of each cell."""
        return np.array([self.manifest.cell_sigma_of(candidate.entry.source) for candidate in candidates])

    def _scale_tolerance(self, spots: Spots) -> float:
        """How far from the pattern's own scale a crystal's may be."""
        cells = max(self.manifest.largest_cell_sigma, CELL_SIGMA if self.added else 0.0)
        return compute_scale_tolerance(hypot(spots.scale_sigma, cells))

    def _admitted(self, query: SearchQuery) -> int:
        """How many crystals the condition on the elements leaves."""
        return len(self._bits.rows(query.allowed))

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """(N, D) a vector a pattern: what a service does for several requests at once, before `rank`."""
        return self._encoder.embed_spots(spots, voltage_kv)

    def rank(
        self, vector: NDArray[np.float32], *, elements: ElementFilter | None = None, top_k: int = 10
    ) -> SearchResult:
        """The crystals nearest to a (D,) unit vector, those that are the same once; see `search`."""
        if top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}")
        timing = Timing()
        found = self._nearest(vector, self._bits.select(elements) if elements else None, top_k)
        timing.stop("search")
        candidates = self._hits(found)
        timing.stop("collect")
        return SearchResult(candidates, timing.milliseconds)

    def _nearest(
        self,
        vector: NDArray[np.float32],
        allowed: Bitmap | None,
        top_k: int,
        bonus: NDArray[np.float64] | None = None,
    ) -> "_Found":
        """The best of each duplicate group, fetching more until there are enough."""
        # What a bonus moves up may lie far down, so all that are allowed are fetched then.
        count = _OVERFETCH * top_k if bonus is None else len(self)
        while True:
            scores, rows = self._vectors.search(vector, count, allowed)
            if bonus is not None:
                scores = scores + bonus[rows].astype(np.float32)
                order = np.argsort(-scores, kind="stable")
                scores, rows = scores[order], rows[order]
            best = self._different(rows)[:top_k]
            if len(best) == top_k or len(rows) < count:
                return scores[best].astype(np.float64), rows[best]
            count *= 4

    def _together(self, first: "_Found", second: "_Found") -> "_Found":
        """Both by similarity, the best of each duplicate group."""
        similarity, row = (np.concatenate(each) for each in zip(first, second, strict=True))
        order = np.argsort(-similarity, kind="stable")
        kept = order[self._different(row[order])]
        return similarity[kept], row[kept]

    def _different(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the first of each duplicate group among rows, ascending."""
        _, first = np.unique(self._catalog.groups[rows], return_index=True)
        return np.sort(first)

    def _hits(self, found: "_Found", bonus: NDArray[np.float64] | None = None) -> tuple[Candidate, ...]:
        """From scores, in which the bonus is, and rows."""
        added = np.zeros(len(found[1])) if bonus is None else bonus[found[1]]
        return tuple(
            Candidate(self._catalog.entry_at(row), score - extra, self._catalog.same_as(row), bonus=extra)
            for score, row, extra in zip(found[0].tolist(), found[1].tolist(), added.tolist(), strict=True)
        )


# Scores and rows, best first.
_Found = tuple[NDArray[np.float64], NDArray[np.int64]]
