"""From a pattern to ranked crystals: the one path for CLI, tests, benchmarks and HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from index.build import CATALOGUE_NAME, ELEMENTS_NAME, VECTORS_NAME
from index.catalogue import Catalogue, Entry
from index.elements import ElementBits, ElementFilter
from index.encoder import Encoder
from index.manifest import Manifest
from index.publishing import version_folder
from index.vectors import Vectors
from model.errors import LibraryError, OptionError
from model.matching import depth
from model.matching.confidence import Verdict
from model.matching.match import Match
from model.matching.verification import verify
from model.pattern.spots import Spots

Effort = Literal["search", "verify", "full"]

# One search for so many rows a hit usually leaves enough when crystals that are the same come together.
_OVERFETCH = 3


@dataclass(frozen=True)
class Hit:
    """A crystal that may have made the pattern.

    Attributes:
        entry: the crystal; of several that are the same, the one nearest to the pattern.
        similarity: cosine of the towers' vectors, -1 to 1.
        also: ids of the others that are the same crystal.
        match: how its computed pattern lies on the measured one; None where that was not computed.
        probability: of being the crystal; None where that was not computed.
    """

    entry: Entry
    similarity: float
    also: tuple[str, ...] = ()
    match: Match | None = None
    probability: float | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: best first.
        timing_ms: time of each stage (`embed`, `search`, `collect`, `verify`), milliseconds.
        verdict: what the verification makes of it; None where there was none.
    """

    hits: tuple[Hit, ...]
    timing_ms: dict[str, float]
    verdict: Verdict | None = None


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
    ) -> SearchResult:
        """The crystals most like a pattern.

        Args:
            spots: the pattern; without intensities it is placed by its geometry alone.
            voltage_kv: accelerating voltage.
            elements: what the crystals may hold; the search itself is restricted, not its result.
            top_k: how many different crystals are wanted; fewer come back when fewer are admitted.
            effort: "search" ranks by the towers alone, "verify" and "full" hold their first candidates against
                the pattern and rank by that.

        Raises:
            OptionError: `top_k` below 1.
        """
        begun = perf_counter()
        (vector,) = self.embed([spots], [voltage_kv])
        embedded = perf_counter()
        pool = top_k if effort == "search" else max(top_k, depth.depth_of(effort, spots).layers)
        result = self.rank(vector, elements=elements, top_k=pool)
        timing = {"embed": _milliseconds(begun, embedded), **result.timing_ms}
        if effort == "search":
            return SearchResult(result.hits, timing)
        ranked = perf_counter()
        hits, verdict = _verified(result.hits, spots, voltage_kv, effort)
        return SearchResult(
            hits[:top_k], {**timing, "verify": _milliseconds(ranked, perf_counter())}, verdict
        )

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """(N, D) a vector a pattern: what a service does for several requests at once, before `rank`."""
        return self._encoder.embed_spots(spots, voltage_kv)

    def rank(
        self, vector: NDArray[np.float32], *, elements: ElementFilter | None = None, top_k: int = 10
    ) -> SearchResult:
        """The crystals nearest to a (D,) unit vector, those that are the same once; see `search`."""
        if top_k < 1:
            raise OptionError(f"top_k must be at least 1, not {top_k}")
        begun = perf_counter()
        allowed = self._bits.select(elements) if elements else None
        scores, rows = self._different(vector, allowed, top_k)
        found = perf_counter()
        hits = tuple(
            Hit(self._catalogue.entry_at(row), float(score), self._catalogue.same_as(row))
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        )
        return SearchResult(
            hits, {"search": _milliseconds(begun, found), "collect": _milliseconds(found, perf_counter())}
        )

    def _different(
        self, vector: NDArray[np.float32], allowed: NDArray[np.uint8] | None, top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and rows of the best of each duplicate group, fetching more until there are enough."""
        count = _OVERFETCH * top_k
        while True:
            scores, rows = self._vectors.search(vector, count, allowed)
            _, first = np.unique(self._catalogue.groups[rows], return_index=True)
            best = np.sort(first)[:top_k]
            if len(best) == top_k or len(rows) < count:
                return scores[best], rows[best]
            count *= 4


def _verified(
    hits: Sequence[Hit], spots: Spots, voltage_kv: float, effort: depth.Effort
) -> tuple[tuple[Hit, ...], Verdict | None]:
    """The hits in the order of the verification, each with what it found, and the verdict."""
    crystals = [hit.entry.crystal for hit in hits]
    found = verify(crystals, [hit.similarity for hit in hits], spots, voltage_kv, effort)
    sure = found.confidence
    ordered = tuple(
        replace(
            hits[row],
            match=found.matches[row],
            probability=None if sure is None or found.matches[row] is None else float(sure.probability[row]),
        )
        for row in found.ranking.tolist()
    )
    return ordered, None if sure is None else sure.verdict


def _milliseconds(begun: float, ended: float) -> float:
    return round(1000.0 * (ended - begun), 3)
