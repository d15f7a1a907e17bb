"""One prediction, from an upload to the answer; the same for HTTP and command line."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.presentation.formats import CIF, SVG, ZIP, write_cif, write_zip
from app.presentation.overlays import CandidateOverlays
from app.presentation.pattern_figure import Panel, draw_figure
from app.presentation.schemas.predict import Answer, ConfidenceSet
from app.presentation.schemas.query import QuerySchema
from app.presentation.schemas.service import Provenance
from app.presentation.serialize import (
    serialize_candidate,
    serialize_next_measurement,
    serialize_pattern,
    serialize_query,
    serialize_twist,
)
from app.presentation.serialize_match import describe_fit, list_tilt_warnings
from app.services.library import Library
from app.services.options import PredictOptions, ReadingOptions
from app.services.uploads import FileUpload, FrameUpload, Upload
from index.search.results import SearchResult
from model.errors import DomainError, TooLargeError, UnreadableError
from model.pattern.detection.spot_finding import find_spots
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import make_spots_from_points
from model.pattern.read import read_pattern_and_frame
from model.pattern.spots import Spots, mask_spots
from model.stopwatch import Stopwatch

logger = logging.getLogger(__name__)

ASSUMED_VOLTAGE_KV = 80.0
MAX_PANELS = 6
LOWEST_VOLTAGE_KV, HIGHEST_VOLTAGE_KV = 60.0, 300.0
_CAVEAT = (
    "A bulk crystal with the same zone is not excluded: one pattern does not tell the thickness. Nor is a crystal that "
    "is not in the index."
)
_SIGMA_OF_NOTHING = "The scale is unknown, so that scale_sigma, its error, went unheard; give pixel_size too."


@dataclass(frozen=True)
class Voltage:
    """The accelerating voltage that is used, and what has to be said about it."""

    kv: float
    warnings: tuple[str, ...] = ()


def read_upload(
    upload: Upload, options: ReadingOptions, calibrations: Path | None = None
) -> tuple[Spots, Frame | None]:
    """The spots of an upload, and the frame that they were found in; None for points.

    Args:
        upload: the pattern.
        options: how to read it.
        calibrations: folder of the cameras' calibrations.

    Raises:
        DomainError: as `read_pattern` and `make_spots_from_points`; whatever else a hostile upload makes the
            readers raise comes as UnreadableError.
    """
    try:
        spots, frame = _read(upload, options.to_pattern_options(calibrations))
        if options.scale_sigma is not None and not spots.scale_is_known:
            spots = replace(spots, warnings=(*spots.warnings, _SIGMA_OF_NOTHING))
        masks = np.array(options.mask, dtype=np.float64)
        return (mask_spots(spots, masks) if len(masks) else spots), frame
    except DomainError:
        raise
    except MemoryError as error:
        raise TooLargeError("the upload does not fit into memory; send fewer pixels or points") from error
    except Exception as error:  # no upload may end in a 500
        logger.exception("a reader met an upload that it did not foresee")
        raise UnreadableError("the upload is damaged or of an unusual kind, and cannot be read") from error


def _read(upload: Upload, pattern: PatternOptions) -> tuple[Spots, Frame | None]:
    if isinstance(upload, FileUpload):
        if not upload.data:
            raise UnreadableError(f"{upload.filename} is empty; send the frame or the table of points.")
        return read_pattern_and_frame(upload.data, upload.filename, pattern)
    if isinstance(upload, FrameUpload):
        return find_spots(upload.frame, pattern), upload.frame
    return make_spots_from_points(upload.points, pattern), None


@dataclass(frozen=True)
class Prediction:
    """What came of an upload.

    Attributes:
        answer: for JSON.
        spots: the pattern.
        result: what the search found.
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
            return write_cif(self.answer)
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


@dataclass(frozen=True)
class Embedded:
    """A pattern by the STE: its vector (D,), and how long that took."""

    vector: NDArray[np.float32]
    ms: float


@dataclass(frozen=True)
class Pattern:
    """An upload that was read, before any search.

    Attributes:
        spots: the pattern.
        frame: that they were found in; None for points.
        voltage: to be used.
        options: of the request.
        read_ms: how long reading took.
    """

    spots: Spots
    frame: Frame | None
    voltage: Voltage
    options: PredictOptions
    read_ms: float


def read_pattern(upload: Upload, options: PredictOptions, calibrations: Path | None = None) -> Pattern:
    """Read an upload; see `read_upload`.

    Raises:
        DomainError: the upload cannot be read, or holds no pattern.
    """
    watch = Stopwatch()
    spots, frame = read_upload(upload, options, calibrations)
    voltage = choose_voltage(options.voltage_kv, spots.voltage_kv)
    return Pattern(spots, frame, voltage, options, watch.total_milliseconds)


def embed_patterns(library: Library, patterns: Sequence[Pattern]) -> list[Embedded | None]:
    """The vectors of patterns by one pass of the STE, with its time shared out; None where the scale is unknown."""
    known = [row for row, each in enumerate(patterns) if each.spots.scale_is_known]
    embedded: list[Embedded | None] = [None] * len(patterns)
    if known:
        watch = Stopwatch()
        vectors = library.embed(
            [patterns[row].spots for row in known], [patterns[row].voltage.kv for row in known]
        )
        spent = round(watch.total_milliseconds / len(known), 3)
        for row, vector in zip(known, vectors, strict=True):
            embedded[row] = Embedded(vector, spent)
    return embedded


def predict(
    library: Library,
    provenance: Provenance,
    pattern: Pattern,
    request_id: str,
    embedded: Embedded | None = None,
) -> Prediction:
    """The candidates for a pattern.

    Args:
        library: that is searched.
        provenance: of the answer.
        pattern: that was read.
        request_id: of the answer.
        embedded: the pattern by the STE, where that was done beforehand.
    """
    watch = Stopwatch()
    spots, options = pattern.spots, pattern.options
    result = library.search(
        spots,
        voltage_kv=pattern.voltage.kv,
        elements=options.to_element_filter(),
        top_k=options.top_k,
        effort=options.effort,
        coverage=options.coverage,
        composition=options.to_composition(),
        vector=None if embedded is None else embedded.vector,
        lattice=options.to_lattice_basis(spots),
    )
    watch.lap("search")
    overlays = None
    if options.overlay and pattern.frame is not None:
        overlays = CandidateOverlays.draw(
            pattern.frame, spots, [candidate.match for candidate in result.candidates]
        )
    candidates = [
        serialize_candidate(
            rank,
            candidate,
            spots,
            with_reflections=options.reflections,
            overlay=None if overlays is None else overlays.path(rank),
        )
        for rank, candidate in enumerate(result.candidates, start=1)
    ]
    before = {"read": pattern.read_ms} | ({} if embedded is None else {"embed": embedded.ms})
    watch.lap("serialize")
    timing = {
        **before,
        **result.timing_ms,
        "serialize": watch.milliseconds["serialize"],
        "total": round(sum(before.values()) + watch.total_milliseconds, 3),
    }
    answer = Answer(
        request_id=request_id,
        verdict=result.verdict,
        caveat=_CAVEAT if result.verdict in {"match", "ambiguous"} else None,
        candidates=candidates,
        confidence_set=(
            None
            if result.confidence_set_size is None
            else ConfidenceSet(coverage=options.coverage, size=result.confidence_set_size)
        ),
        next_measurement=(
            None if result.next_measurement is None else serialize_next_measurement(result.next_measurement)
        ),
        query=_serialize_query(pattern, result),
        # Positions corrected by a camera calibration are no longer pixels of the frame.
        pattern=(
            serialize_pattern(spots, keep_pixels=options.calibration is None) if options.record else None
        ),
        provenance=provenance,
        timing_ms=timing,
    )
    return Prediction(answer, spots, result, overlays)


def _serialize_query(pattern: Pattern, result: SearchResult) -> QuerySchema:
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


def choose_voltage(asked: float | None, stated: float | None) -> Voltage:
    """The request's voltage, else the file's, else 80 kV; all within what the model knows."""
    if asked is not None:
        return Voltage(asked)
    if stated is None:
        return Voltage(
            ASSUMED_VOLTAGE_KV,
            (
                f"The accelerating voltage is unknown; {ASSUMED_VOLTAGE_KV:g} kV was assumed. Give voltage_kv.",
            ),
        )
    nearest = min(max(stated, LOWEST_VOLTAGE_KV), HIGHEST_VOLTAGE_KV)
    if nearest != stated:
        told = f"The file states {stated:g} kV; {nearest:g} kV, the nearest that is known, was used."
        return Voltage(nearest, (told,))
    return Voltage(stated)
