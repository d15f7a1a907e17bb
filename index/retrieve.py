"""From a pattern to ranked crystals: the one path for CLI, tests, benchmarks and HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from index.build import CATALOGUE_NAME, ELEMENTS_NAME, VECTORS_NAME
from index.catalogue import Catalogue, Entry
from index.composition import Composition, CompositionTable
from index.elements import Bitmap, ElementBits, ElementFilter
from index.encoder import Encoder
from index.manifest import Manifest
from index.publishing import version_folder
from index.scale_search import at_best_scale, scales_of
from index.vectors import Vectors
from model.errors import LibraryError, OptionError
from model.matching import depth
from model.matching.confidence import CALIBRATIONS, Verdict
from model.matching.indexing import PlaneLattice, index_pattern
from model.matching.lattice_table import LatticeTable
from model.matching.match import Match
from model.matching.measurement import Measurement, distinguishing
from model.matching.observation import Q_MAX_INV_ANGSTROM, Observation
from model.matching.overlap import FALSE_SHARE, Overlap, Twist
from model.matching.settings import SCALE_TOLERANCE
from model.matching.verification import KNOWN_SCALE, SIMILARITY_WEIGHT, Scale, Verification, verify
from model.pattern.spots import Spots

Effort = Literal["search", "verify", "full"]

# One search for so many rows a hit usually leaves enough when crystals that are the same come together.
_OVERFETCH = 3
# In which share of cases the set of candidates holds the crystal, unless asked otherwise.
COVERAGE = 0.95
# Of candidates that a pattern hardly tells apart, so many are parted.
MOST_PARTED = 6
# Of each of two layers, so many hits are tried as partners.
MOST_PAIRED = 20
# How far a scale may be off that nothing fits, as a logarithm: a third either way.
DOUBT = 0.29
_TWO_LATTICES = (
    "The spots are those of two lattices: two layers, or two flakes in the beam. The candidates of both come in turn; "
    "`layer` says of which they are, and `query.twist` how they lie to each other."
)
# By how much the ln likelihood has to be larger at another scale where intensities do not decide.
CLEARLY_BETTER = 10.0
_WRONG_SCALE = (
    "Nothing fits at the scale given. It was taken to be off by {off:+.1f} %, with which the candidates fit; check "
    "pixel_size (or the units) with a known crystal."
)


@dataclass(frozen=True)
class Hit:
    """A crystal that may have made the pattern.

    Attributes:
        entry: the crystal; of several that are the same, the one nearest to the pattern.
        similarity: cosine of the towers' vectors, -1 to 1.
        also: ids of the others that are the same crystal.
        match: how its computed pattern lies on the measured one; None where that was not computed.
        probability: of being the crystal; None where that was not computed.
        group: number of the group of hits that the pattern hardly tells apart, from 1; None likewise.
        in_set: whether it is in the set that holds the crystal with the coverage asked for; None likewise.
        bonus: what a measured composition adds to the similarity where hits are ranked, 0 at most.
        layer: 1 or 2, of a pattern of two lattices; None of a single one.
    """

    entry: Entry
    similarity: float
    also: tuple[str, ...] = ()
    match: Match | None = None
    probability: float | None = None
    group: int | None = None
    in_set: bool | None = None
    bonus: float = 0.0
    layer: Literal[1, 2] | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: best first.
        timing_ms: time of each stage (`embed`, `search`, `lattice`, `collect`, `verify`), milliseconds.
        verdict: what the verification makes of it; None where there was none.
        lattice: the pattern's own; None where it shows none, or was not asked for it.
        set_size: number of candidates that hold the crystal with the coverage asked for, more than `hits` perhaps;
            None without probabilities.
        measurement: what would part the hits of the first group, where it has several.
        warnings: sentences for the user.
        overlap: the pattern taken apart, where it is of two lattices; hits are of both in turn then.
        twist: of the first hits of both; None of a single lattice, and where one of them was not matched.
    """

    hits: tuple[Hit, ...]
    timing_ms: dict[str, float]
    verdict: Verdict | None = None
    lattice: PlaneLattice | None = None
    set_size: int | None = None
    measurement: Measurement | None = None
    warnings: tuple[str, ...] = ()
    overlap: Overlap | None = None
    twist: Twist | None = None


class Retriever:
    """An opened index with the model that made it; searching is safe from several threads at once.

    Use `Retriever.open`.
    """

    def __init__(
        self, manifest: Manifest, catalogue: Catalogue, vectors: Vectors, bits: ElementBits, encoder: Encoder
    ) -> None:
        if not len(vectors) == len(catalogue) == bits.count == manifest.crystals:
            raise LibraryError(
                f"the index's parts disagree: {len(vectors)} vectors, {len(catalogue)} catalogue entries, "
                f"{manifest.crystals} in the manifest; build it again"
            )
        if vectors.dimension != encoder.dimension:
            raise LibraryError(
                f"the index has vectors of {vectors.dimension} numbers, the model makes {encoder.dimension}"
            )
        self.manifest = manifest
        self._catalogue = catalogue
        self._vectors = vectors
        self._bits = bits
        self._encoder = encoder
        self._lattices = LatticeTable.of(catalogue.lattices())
        self._compositions = CompositionTable(catalogue.numbers())

    @classmethod
    def open(cls, directory: Path, encoder: Encoder) -> Self:
        """Open the version in use of an index, read-only.

        Args:
            directory: what `build_index` wrote to, or one version in it.
            encoder: the weights that made it.

        Raises:
            LibraryError: missing, damaged, or made by other weights; the message names both.
        """
        folder = version_folder(directory)
        manifest = Manifest.read(folder)
        manifest.check_encoder(encoder)
        manifest.check_sizes(folder)
        return cls(
            manifest,
            Catalogue.open(folder / CATALOGUE_NAME),
            Vectors.open(folder / VECTORS_NAME),
            ElementBits.open(folder / ELEMENTS_NAME, manifest.crystals),
            encoder,
        )

    def close(self) -> None:
        """Let go of the files."""
        self._catalogue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._catalogue)

    def entry(self, id: str) -> Entry:
        """The crystal with this id.

        Raises:
            KeyError: there is none.
        """
        return self._catalogue.entry(id)

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

        Raises:
            OptionError: `top_k` below 1.
        """
        if top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}")
        allowed, bonus = self._known(elements, composition)
        query = _Query(spots, voltage_kv, allowed, top_k, effort, coverage, bonus)
        nothing_left = allowed is not None and not allowed.any()
        # Of two layers either may be admitted, though no crystal holds what both hold.
        if nothing_left and (effort == "search" or not spots.scale_is_known):
            return SearchResult((), {}, "no_match")
        if not spots.scale_is_known:
            return self._search_scales(query, np.inf)
        found = self._search_known_scale(query)
        if effort == "search":
            return found
        both = self._search_both(query, found, elements)
        if both is not None:
            return both
        if nothing_left:
            return replace(found, verdict="no_match")
        if found.verdict not in {None, "no_match"}:
            return found
        doubted = self._search_scales(query, DOUBT)
        if not _explains_better(doubted, found):
            return found
        scale = next(hit.match.scale for hit in doubted.hits if hit.match)
        return replace(doubted, warnings=(_WRONG_SCALE.format(off=100 * (scale - 1)),))

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

    def candidates(self, spots: Spots, *, voltage_kv: float, effort: depth.Effort) -> list[Hit]:
        """What a search at a known scale would verify: the nearest by the towers, and those of the lattice."""
        hits, _ = self._candidates(_Query(spots, voltage_kv, None, 1, effort), _Timing())
        return list(hits)

    def _search_known_scale(self, query: "_Query") -> SearchResult:
        timing = _Timing()
        hits, lattice = self._candidates(query, timing)
        if query.effort == "search":
            return SearchResult(hits, timing.milliseconds)
        return _verified(hits, query, KNOWN_SCALE, lattice, self._admitted(query), timing)

    def _candidates(self, query: "_Query", timing: "_Timing") -> tuple[tuple[Hit, ...], PlaneLattice | None]:
        """Candidates and, where they will be verified, the pattern's lattice."""
        (vector,) = self.embed([query.spots], [query.voltage_kv])
        timing.stop("embed")
        found = self._nearest(vector, query.allowed, query.pool, query.bonus)
        timing.stop("search")
        lattice = None
        if query.effort != "search":
            lattice = index_pattern(Observation.of(query.spots, query.voltage_kv))
            if lattice is not None:
                fitting = self._bits.packed(self._lattices.fitting(lattice.basis, SCALE_TOLERANCE).crystal)
                if query.allowed is not None:
                    fitting &= query.allowed
                found = self._together(found, self._nearest(vector, fitting, query.pool, query.bonus))
            timing.stop("lattice")
        hits = self._hits(found, query.bonus)
        timing.stop("collect")
        return hits, lattice

    def _search_both(
        self, query: "_Query", found: SearchResult, elements: ElementFilter | None
    ) -> SearchResult | None:
        """A search for each of two lattices, where no single crystal explains the spots of both."""
        best = next((hit.match for hit in found.hits if hit.match), None)
        if found.lattice is None or (best is not None and best.extra < FALSE_SHARE):
            return None
        overlap = Overlap.of(query.spots, found.lattice, query.voltage_kv)
        if overlap is None:
            return None
        # What both layers hold together, either need not.
        each = None if elements is None else ElementFilter(only=elements.only, none=elements.none)
        allowed = self._bits.select(each) if each else None
        wide = max(query.top_k, MOST_PAIRED)
        layers = [
            self._search_known_scale(replace(query, spots=spots, allowed=allowed, top_k=wide, bonus=None))
            for spots in overlap.spots
        ]
        if all(layer.verdict == "no_match" for layer in layers):
            return None
        wanted = frozenset() if elements is None else frozenset(elements.all)
        return _interleaved(layers, overlap, wanted, query.top_k)

    def _search_scales(self, query: "_Query", doubt: float) -> SearchResult:
        """A search among all scales within a doubt (of the logarithm)."""
        timing = _Timing()
        spots = query.spots
        lattice = index_pattern(Observation.of(spots, query.voltage_kv))
        fitting = None if lattice is None else self._lattices.fitting(lattice.basis, doubt)
        timing.stop("lattice")
        scales = scales_of(spots, doubt)
        vectors = self.embed(
            [spots.rescaled(1 / scale) for scale in scales], [query.voltage_kv] * len(scales)
        )
        timing.stop("embed")
        rows = self._bits.rows(query.allowed)
        similarity = vectors @ self._vectors.rows(rows).T
        if query.bonus is not None:
            similarity += query.bonus[rows].astype(np.float32)
        found = at_best_scale(similarity, scales, rows, fitting)
        _, first = np.unique(self._catalogue.groups[found.row], return_index=True)
        best = np.sort(first)[: query.pool]
        timing.stop("search")
        hits = self._hits((found.similarity[best], found.row[best]), query.bonus)
        timing.stop("collect")
        if query.effort == "search":
            return SearchResult(hits, timing.milliseconds, lattice=lattice)
        return _verified(
            hits, query, Scale(doubt / 2, found.scale[best]), lattice, self._admitted(query), timing
        )

    def _admitted(self, query: "_Query") -> int:
        """How many crystals the condition on the elements leaves."""
        return len(self) if query.allowed is None else int(np.unpackbits(query.allowed).sum())

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """(N, D) a vector a pattern: what a service does for several requests at once, before `rank`."""
        return self._encoder.embed_spots(spots, voltage_kv)

    def rank(
        self, vector: NDArray[np.float32], *, elements: ElementFilter | None = None, top_k: int = 10
    ) -> SearchResult:
        """The crystals nearest to a (D,) unit vector, those that are the same once; see `search`."""
        if top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}")
        timing = _Timing()
        found = self._nearest(vector, self._bits.select(elements) if elements else None, top_k)
        timing.stop("search")
        hits = self._hits(found)
        timing.stop("collect")
        return SearchResult(hits, timing.milliseconds)

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
            _, first = np.unique(self._catalogue.groups[rows], return_index=True)
            best = np.sort(first)[:top_k]
            if len(best) == top_k or len(rows) < count:
                return scores[best].astype(np.float64), rows[best]
            count *= 4

    def _together(self, first: "_Found", second: "_Found") -> "_Found":
        """Both by similarity, the best of each duplicate group."""
        similarity, row = (np.concatenate(each) for each in zip(first, second, strict=True))
        order = np.argsort(-similarity, kind="stable")
        _, place = np.unique(self._catalogue.groups[row[order]], return_index=True)
        kept = order[np.sort(place)]
        return similarity[kept], row[kept]

    def _hits(self, found: "_Found", bonus: NDArray[np.float64] | None = None) -> tuple[Hit, ...]:
        """From scores, in which the bonus is, and rows."""
        added = np.zeros(len(found[1])) if bonus is None else bonus[found[1]]
        return tuple(
            Hit(self._catalogue.entry_at(row), score - extra, self._catalogue.same_as(row), bonus=extra)
            for score, row, extra in zip(found[0].tolist(), found[1].tolist(), added.tolist(), strict=True)
        )


# Scores and rows, best first.
_Found = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True)
class _Query:
    """What is searched for."""

    spots: Spots
    voltage_kv: float
    allowed: Bitmap | None
    top_k: int
    effort: Effort
    coverage: float = COVERAGE
    bonus: NDArray[np.float64] | None = None

    @property
    def pool(self) -> int:
        """How many candidates the towers have to give."""
        if self.effort == "search":
            return self.top_k
        return max(self.top_k, depth.depth_of(self.effort, self.spots).layers)


def _interleaved(
    layers: Sequence[SearchResult], overlap: Overlap, wanted: frozenset[str], top_k: int
) -> SearchResult:
    """The hits of two layers in turn, the likeliest pair that holds all wanted elements first."""
    first, second = layers
    told = [replace(hit, layer=1) for hit in first.hits], [replace(hit, layer=2) for hit in second.hits]
    pairs = [
        (place, partner)
        for place, hit in enumerate(told[0][:MOST_PAIRED])
        for partner, other in enumerate(told[1][:MOST_PAIRED])
        if wanted <= {*hit.entry.elements, *other.entry.elements}
    ]
    if pairs:
        best = max(pairs, key=lambda pair: _pair_value(told[0], pair[0]) + _pair_value(told[1], pair[1]))
        for hits, place in zip(told, best, strict=True):
            hits.insert(0, hits.pop(place))
    twist = _twist_of(told[0][:1], told[1][:1])
    merged = [hit for pair in zip_longest(*told) for hit in pair if hit is not None]
    verdicts = [layer.verdict for layer in layers]
    sizes = [layer.set_size for layer in layers]
    return SearchResult(
        hits=tuple(merged[:top_k]),
        timing_ms={
            name: sum(layer.timing_ms.get(name, 0.0) for layer in layers) for name in layers[0].timing_ms
        },
        verdict=None if None in verdicts else "match" if set(verdicts) == {"match"} else "ambiguous",
        lattice=overlap.lattices[0],
        set_size=None if None in sizes else 2 * max(size or 0 for size in sizes),
        warnings=(_TWO_LATTICES,),
        overlap=overlap,
        twist=twist,
    )


def _twist_of(first: Sequence[Hit], second: Sequence[Hit]) -> Twist | None:
    """Of the leading hits."""
    for hit, other in zip(first, second, strict=False):
        if hit.match and other.match:
            return Twist.of((hit.entry.crystal, other.entry.crystal), (hit.match, other.match))
    return None


def _pair_value(hits: Sequence[Hit], place: int) -> float:
    """ln of how likely a hit is; where that is not known, by its place."""
    probability = hits[place].probability
    return -20.0 - place if not probability else max(float(np.log(probability)), -20.0)


def _explains_better(doubted: SearchResult, found: SearchResult) -> bool:
    """Whether a pattern that no crystal, or no sure one, explains at its scale is explained at another."""
    if doubted.verdict is not None:
        return doubted.verdict != "no_match"
    # Without intensities there is no verdict, only scores.
    best, before = (
        max((hit.match.score for hit in each.hits if hit.match), default=-np.inf) for each in (doubted, found)
    )
    return bool(best > before + CLEARLY_BETTER)


class _Timing:
    """A stop watch with a name for each lap."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._begun = perf_counter()

    def stop(self, name: str) -> None:
        """End a lap and begin the next."""
        now = perf_counter()
        self.milliseconds[name] = round(1000.0 * (now - self._begun), 3)
        self._begun = now


def _verified(
    hits: Sequence[Hit],
    query: _Query,
    scale: Scale,
    lattice: PlaneLattice | None,
    admitted: int,
    timing: _Timing,
) -> SearchResult:
    """The hits in the order of the verification, each with what it found, and what follows from all of them."""
    assert query.effort != "search"
    crystals = [hit.entry.crystal for hit in hits]
    near = [hit.similarity + hit.bonus for hit in hits]
    found = verify(crystals, near, query.spots, query.voltage_kv, query.effort, scale)
    sure = found.confidence
    size = None if sure is None else sure.set_size(query.coverage, admitted, CALIBRATIONS[query.effort])
    ordered = tuple(
        _judged(hits[row], row, place, found, size) for place, row in enumerate(found.ranking.tolist())
    )
    alike = [hit for hit in ordered if hit.group == 1 and hit.match][:MOST_PARTED]
    measurement = None
    if len(alike) > 1:
        reach = min(float(np.hypot(*query.spots.q_inv_angstrom.T).max()), Q_MAX_INV_ANGSTROM)
        measurement = distinguishing(
            [hit.entry.crystal for hit in alike],
            [hit.match for hit in alike if hit.match],
            query.voltage_kv,
            reach,
        )
    timing.stop("verify")
    return SearchResult(
        hits=ordered[: query.top_k],
        timing_ms=timing.milliseconds,
        verdict=None if sure is None else sure.verdict,
        lattice=lattice,
        set_size=size,
        measurement=measurement,
    )


def _judged(hit: Hit, row: int, place: int, found: Verification, size: int | None) -> Hit:
    """A hit with what its verification found."""
    match, sure = found.matches[row], found.confidence
    told = sure is not None and match is not None
    return replace(
        hit,
        match=match,
        probability=float(sure.probability[row]) if sure is not None and told else None,
        group=int(sure.groups[row]) if sure is not None and told else None,
        in_set=None if size is None else place < size,
    )
