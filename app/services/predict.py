"""Predict the crystal of a pattern, for both HTTP and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan, degrees
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.presentation.formats import CIF, SVG, ZIP, get_first_cif, write_zip
from app.presentation.overlays import CandidateOverlays
from app.presentation.pattern_figure import Panel, describe_fit, draw_figure
from app.presentation.schemas.predict import Answer, CandidateSchema, ConfidenceSet
from app.presentation.schemas.query import QuerySchema
from app.presentation.schemas.service import Provenance
from app.presentation.serialize import (
    serialize_candidate,
    serialize_next_measurement,
    serialize_pattern,
    serialize_query,
    serialize_twist,
)
from app.services.options import PredictOptions
from app.services.uploads import PatternReading
from index.search.results import SearchResult
from model.matching.match import Match
from model.pattern.spots import Spots
from model.physics.tilt_series import MAX_TILT_TANGENT
from model.stopwatch import Stopwatch

if TYPE_CHECKING:
    from app.services.search_index import SearchIndex

MAX_PANELS = 6
# Slightly below the limit of the fit.
MAX_RELIABLE_TILT_DEG = degrees(atan(MAX_TILT_TANGENT)) - 0.1
_CAVEAT = (
    "A bulk crystal with the same zone axis is not excluded, because one pattern does not determine the thickness; nor "
    "is a crystal that is not in the index."
)


@dataclass(frozen=True)
class PatternEmbedding:
    """The vector of a pattern, shape (D,), and the time that the STE took."""

    vector: NDArray[np.float32]
    ms: float


@dataclass(frozen=True)
class Prediction:
    """The answer to a pattern.

    Attributes:
        answer: the answer for JSON.
        spots: the spots of the pattern.
        result: the result of the search.
        overlays: the first candidates drawn over the frame, if requested.
    """

    answer: Answer
    spots: Spots
    result: SearchResult
    overlays: CandidateOverlays | None = None

    def write(self, media_type: str) -> bytes:
        """Return the answer in a media type.

        Raises:
            NotAcceptableError: a CIF is requested and there is no candidate.
        """
        if media_type == SVG:
            return self.draw().encode()
        if media_type == CIF:
            return get_first_cif(self.answer)
        if media_type == ZIP:
            return write_zip(self.answer)
        return self.answer.model_dump_json().encode()

    def draw(self) -> str:
        """Draw the pattern as SVG, with a panel for each of the first candidates."""
        panels = [
            Panel(
                f"{each.rank}. {each.formula} ({each.id})",
                describe_fit(f"similarity {each.similarity:.3f}", each.probability, each.match),
                candidate.match,
            )
            for each, candidate in zip(
                self.answer.candidates[:MAX_PANELS], self.result.candidates, strict=False
            )
        ]
        return draw_figure(self.spots, self.result.lattice, panels)


def embed_patterns(
    index: "SearchIndex", patterns: Sequence[PatternReading[PredictOptions]]
) -> list[PatternEmbedding | None]:
    """Embed patterns in one pass of the STE, whose time is divided among them; None for a pattern of unknown scale."""
    rows = [row for row, each in enumerate(patterns) if each.spots.scale_is_known]
    embeddings: list[PatternEmbedding | None] = [None] * len(patterns)
    if rows:
        started = perf_counter()
        vectors = index.embed(
            [patterns[row].spots for row in rows], [patterns[row].voltage.kv for row in rows]
        )
        ms = round(1000 * (perf_counter() - started) / len(rows), 3)
        for row, vector in zip(rows, vectors, strict=True):
            embeddings[row] = PatternEmbedding(vector, ms)
    return embeddings


def predict(
    index: "SearchIndex",
    provenance: Provenance,
    pattern: PatternReading[PredictOptions],
    request_id: str,
    embedding: PatternEmbedding | None = None,
) -> Prediction:
    """Search the candidates for a pattern, and write the answer.

    Args:
        index: the index to search.
        provenance: the provenance of the answer.
        pattern: the pattern.
        request_id: the id of the answer.
        embedding: the embedding of the pattern, if there is one already.
    """
    watch = Stopwatch()
    spots, options = pattern.spots, pattern.options
    result = index.search(
        spots,
        voltage_kv=pattern.voltage.kv,
        elements=options.to_element_filter(),
        top_k=options.top_k,
        effort=options.effort,
        coverage=options.coverage,
        composition=options.to_composition(),
        vector=None if embedding is None else embedding.vector,
        lattice=options.to_lattice_basis(spots),
    )
    watch.lap("search")
    overlays = None
    if options.overlay and pattern.frame is not None:
        overlays = CandidateOverlays.draw(pattern.frame, spots, [each.match for each in result.candidates])
    candidates = _serialize_candidates(pattern, result, overlays)
    watch.lap("serialize")
    before_ms = {"read": pattern.read_ms} | ({} if embedding is None else {"embed": embedding.ms})
    confidence_set_size, next_measurement = result.confidence_set_size, result.next_measurement
    answer = Answer(
        request_id=request_id,
        verdict=result.verdict,
        caveat=_CAVEAT if result.verdict in {"match", "ambiguous"} else None,
        candidates=candidates,
        confidence_set=(
            None
            if confidence_set_size is None
            else ConfidenceSet(coverage=options.coverage, size=confidence_set_size)
        ),
        next_measurement=None if next_measurement is None else serialize_next_measurement(next_measurement),
        query=_serialize_query(pattern, result),
        # Positions corrected by a camera calibration are no longer pixels of the frame.
        pattern=serialize_pattern(spots, keep_pixels=options.calibration is None) if options.record else None,
        provenance=provenance,
        timing_ms={
            **before_ms,
            **result.timing_ms,
            "serialize": watch.milliseconds["serialize"],
            "total": round(sum(before_ms.values()) + watch.total_milliseconds, 3),
        },
    )
    return Prediction(answer, spots, result, overlays)


def _serialize_candidates(
    pattern: PatternReading[PredictOptions], result: SearchResult, overlays: CandidateOverlays | None
) -> list[CandidateSchema]:
    return [
        serialize_candidate(
            rank,
            candidate,
            pattern.spots,
            with_reflections=pattern.options.reflections,
            overlay=None if overlays is None else overlays.path(rank),
        )
        for rank, candidate in enumerate(result.candidates, start=1)
    ]


def _serialize_query(pattern: PatternReading[PredictOptions], result: SearchResult) -> QuerySchema:
    spots, options = pattern.spots, pattern.options
    lattices = () if result.lattice is None else (result.lattice,)
    return serialize_query(
        spots,
        pattern.voltage.kv,
        lattices if result.overlapping_lattices is None else result.overlapping_lattices.lattices,
        (*pattern.voltage.warnings, *result.warnings, *list_tilt_warnings(result.best_match)),
        twists=() if result.overlapping_lattices is None else (serialize_twist(result.twist),),
        options=options.model_dump(exclude_unset=True),
        lattice_sought=options.effort != "search" or not spots.scale_is_known,
    )


def list_tilt_warnings(best: Match | None) -> tuple[str, ...]:
    """Warn if the tilt of the best match is at the limit of the fit."""
    if best is None or best.tilt_deg < MAX_RELIABLE_TILT_DEG:
        return ()
    return (
        f"The fitted tilt, {best.tilt_deg:.1f} degrees, is at the limit of the fit; the flake may be tilted further. "
        "Reduce the tilt for a more reliable answer.",
    )
