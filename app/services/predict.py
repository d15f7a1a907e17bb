"""One prediction, from an upload to the answer; the same for HTTP and command line."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from app.presentation import svg as drawing
from app.presentation.formats import CIF, SVG, ZIP, write_cif, write_zip
from app.presentation.frame_overlay import beams_over, frame_picture
from app.presentation.overlays import MOST_CANDIDATES, Drawing, overlay_link
from app.presentation.schemas import (
    Answer,
    CandidateSet,
    Lattice,
    Measurement,
    Provenance,
    Query,
    Twist,
)
from app.presentation.schemas import Candidate as CandidateSchema
from app.presentation.schemas import Pattern as RecordedPattern
from app.presentation.serialize import fit_told, lattice_seen, match_of, quality_seen, told_of_tilt, twist_of
from app.services.library import Library
from app.services.options import Options, ReadingOptions
from app.services.uploads import FileUpload, FrameUpload, Upload
from index.search.results import Candidate, SearchResult
from index.search.timing import milliseconds
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.crystal.structure_files import VACUUM_ANGSTROM
from model.errors import DomainError, TooLargeError, UnreadableError
from model.indexing.pattern_lattice import PatternLattice
from model.matching.next_measurement import NextMeasurement as FoundMeasurement
from model.pattern.detection.spot_finding import find_spots
from model.pattern.frame import Frame
from model.pattern.mask import mask_spots
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import spots_from_points
from model.pattern.read import read_pattern_and_frame
from model.pattern.spots import Spots

logger = logging.getLogger(__name__)

ASSUMED_VOLTAGE_KV = 80.0
# Candidates in a picture.
DRAWN = 6
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
        DomainError: as `read_pattern` and `spots_from_points`; whatever else a hostile upload makes the
            readers raise comes as UnreadableError.
    """
    try:
        spots, frame = _read(upload, options.pattern(calibrations))
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
        return read_pattern_and_frame(upload.data, upload.filename, pattern)
    if isinstance(upload, FrameUpload):
        return find_spots(upload.frame, pattern), upload.frame
    return spots_from_points(upload.points, pattern), None


@dataclass(frozen=True)
class Prediction:
    """What came of an upload.

    Attributes:
        answer: for JSON.
        spots: the pattern.
        result: what the search found.
        drawing: the frame with each of the first candidates over it, where they were asked for.
    """

    answer: Answer
    spots: Spots
    result: SearchResult
    drawing: Drawing | None = None

    def write(self, media_type: str) -> bytes:
        """Return the answer in a media type.

        Raises:
            NotAcceptableError: a CIF is requested and there is no candidate.
        """
        if media_type == SVG:
            return self.drawn().encode()
        if media_type == CIF:
            return write_cif(self.answer)
        if media_type == ZIP:
            return write_zip(self.answer)
        return self.answer.model_dump_json().encode()

    def drawn(self) -> str:
        """As SVG: the pattern with its lattice, and a panel for each of the first candidates."""
        panels = [
            drawing.Panel(
                f"{each.rank}. {each.formula} ({each.id})",
                fit_told(f"similarity {each.similarity:.3f}", each.probability, each.match),
                candidate.match,
            )
            for each, candidate in zip(self.answer.candidates[:DRAWN], self.result.candidates, strict=False)
        ]
        spots_alone = drawing.Panel("The pattern", f"{len(self.spots)} spots", None)
        return drawing.drawn(self.spots, self.result.lattice, panels or [spots_alone])


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
    options: Options
    read_ms: float


def read_pattern(upload: Upload, options: Options, calibrations: Path | None = None) -> Pattern:
    """Read an upload; see `read_upload`.

    Raises:
        DomainError: the upload cannot be read, or holds no pattern.
    """
    begun = perf_counter()
    spots, frame = read_upload(upload, options, calibrations)
    voltage = choose_voltage(options.voltage_kv, spots.voltage_kv)
    return Pattern(spots, frame, voltage, options, milliseconds(begun, perf_counter()))


def embed_patterns(library: Library, patterns: Sequence[Pattern]) -> list[Embedded | None]:
    """The vectors of patterns by one pass of the STE, with its time shared out; None where the scale is unknown."""
    known = [row for row, each in enumerate(patterns) if each.spots.scale_is_known]
    embedded: list[Embedded | None] = [None] * len(patterns)
    if known:
        begun = perf_counter()
        vectors = library.embed(
            [patterns[row].spots for row in known], [patterns[row].voltage.kv for row in known]
        )
        spent = round(milliseconds(begun, perf_counter()) / len(known), 3)
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
    begun = perf_counter()
    spots, options = pattern.spots, pattern.options
    result = library.search(
        spots,
        voltage_kv=pattern.voltage.kv,
        elements=options.elements(),
        top_k=options.top_k,
        effort=options.effort,
        coverage=options.coverage,
        composition=options.measured_composition(),
        vector=None if embedded is None else embedded.vector,
        lattice=options.picked_basis(spots),
    )
    searched = perf_counter()
    drawing = _drawing(pattern.frame, spots, result) if options.overlay else None
    candidates = [
        _candidate(rank, candidate, spots, options.reflections, _link(drawing, rank))
        for rank, candidate in enumerate(result.candidates, start=1)
    ]
    before = {"read": pattern.read_ms} | ({} if embedded is None else {"embed": embedded.ms})
    write_ms, total_ms = (milliseconds(since, perf_counter()) for since in (searched, begun))
    timing = {
        **before,
        **result.timing_ms,
        "write": write_ms,
        "total": round(sum(before.values()) + total_ms, 3),
    }
    answer = Answer(
        request_id=request_id,
        verdict=result.verdict,
        caveat=_CAVEAT if result.verdict in {"match", "ambiguous"} else None,
        candidates=candidates,
        set=None
        if result.confidence_set_size is None
        else CandidateSet(coverage=options.coverage, size=result.confidence_set_size),
        measurement=None if result.next_measurement is None else _measurement(result.next_measurement),
        query=query_of(
            spots,
            pattern.voltage,
            result.lattice,
            (*result.warnings, *told_of_tilt(result.best)),
            None if result.overlap is None else twist_of(result.overlap, result.twist, spots),
            options.model_dump(exclude_unset=True),
            lattice_sought=options.effort != "search" or not spots.scale_is_known,
        ),
        pattern=recorded(spots, options) if options.record else None,
        provenance=provenance,
        timing_ms=timing,
    )
    return Prediction(answer, spots, result, drawing)


def recorded(spots: Spots, options: Options) -> RecordedPattern:
    """The spots as they would be sent as points: in pixels if they came so and no camera's distortion was taken out."""
    in_pixels = spots.pixels is not None and spots.center_px is not None and options.calibration is None
    places = spots.pixels if in_pixels and spots.pixels is not None else spots.q_inv_angstrom
    columns = [places] if spots.intensity is None else [places, spots.intensity[:, None]]
    points = [[float(f"{value:.7g}") for value in row] for row in np.hstack(columns).tolist()]
    return RecordedPattern(
        points=points,
        units="pixel" if in_pixels else "1/angstrom",
        center=list(spots.center_px) if in_pixels and spots.center_px is not None else None,
        pixel_size=spots.pixel_size_inv_angstrom if in_pixels and spots.scale_is_known else None,
        scale_sigma=spots.scale_sigma if spots.scale_is_known else None,
    )


def _drawing(frame: Frame | None, spots: Spots, result: SearchResult) -> Drawing | None:
    """The frame with each of the first candidates that lie on it; None where there is none."""
    if frame is None:
        return None
    shapes = {
        rank: beams_over(spots, candidate.match, frame.shape)
        for rank, candidate in enumerate(result.candidates[:MOST_CANDIDATES], start=1)
        if candidate.match is not None
    }
    if not shapes:
        return None
    return Drawing(uuid4().hex, replace(frame_picture(frame, spots, None), shapes=()), shapes)


def _link(drawing: Drawing | None, rank: int) -> str | None:
    return overlay_link(drawing.id, rank) if drawing is not None and rank in drawing.shapes else None


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


def lattice_of(crystal: Crystal) -> Lattice:
    """The cell as the CIF gives it."""
    a, b = crystal.lattice
    return Lattice(
        a=round(float(np.hypot(*a)), 6),
        b=round(float(np.hypot(*b)), 6),
        c=round(crystal.thickness + VACUUM_ANGSTROM, 6),
        alpha=90.0,
        beta=90.0,
        gamma=round(float(np.degrees(np.arctan2(b[1], b[0]))), 6),
    )


def _candidate(
    rank: int, candidate: Candidate, spots: Spots, listed: bool, overlay: str | None
) -> CandidateSchema:
    entry: Entry = candidate.entry
    return CandidateSchema(
        rank=rank,
        id=entry.id,
        source=entry.source,
        formula=entry.formula,
        elements=list(entry.elements),
        layer_group=entry.layer_group,
        lattice=lattice_of(entry.crystal),
        similarity=round(candidate.similarity, 6),
        probability=None if candidate.probability is None else round(candidate.probability, 6),
        group=candidate.equivalence_group,
        in_set=candidate.in_confidence_set,
        layer=candidate.lattice_number,
        match=None if candidate.match is None else match_of(candidate.match, spots, listed, overlay),
        also=list(candidate.same_as),
        cif=entry.cif(),
    )


def _measurement(found: FoundMeasurement) -> Measurement:
    return Measurement(
        by=found.method,
        text=found.advice,
        element=found.element,
        tilt_deg=found.tilt_deg,
        log_ratio=None if found.log_likelihood_ratio is None else round(found.log_likelihood_ratio, 1),
    )


def query_of(
    spots: Spots,
    voltage: Voltage,
    lattice: PatternLattice | None,
    warnings: tuple[str, ...] = (),
    twist: Twist | None = None,
    options: dict[str, Any] | None = None,
    lattice_sought: bool = True,
) -> Query:
    """The pattern as it was understood.

    Args:
        spots: the pattern.
        voltage: that was used.
        lattice: its own.
        warnings: of the search.
        twist: of two lattices.
        options: that were given.
        lattice_sought: whether it was looked for.
    """
    return Query(
        spots=len(spots),
        center=None if spots.center_px is None else list(spots.center_px),
        pixel_size=spots.pixel_size_inv_angstrom if spots.scale_is_known else None,
        calibration=spots.calibration,
        scale_sigma=spots.scale_sigma if spots.scale_is_known else None,
        voltage_kv=voltage.kv,
        lattice=None if lattice is None else lattice_seen(lattice, spots),
        twist=twist,
        quality=quality_seen(spots, lattice, lattice_sought),
        options=options,
        warnings=[*spots.warnings, *voltage.warnings, *warnings],
    )
