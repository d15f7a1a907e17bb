"""One prediction, from an upload to the answer; the same for HTTP and command line."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import numpy as np

from app import drawing
from app.evidence import fit_told, lattice_seen, match_of, quality_seen, twist_of
from app.frame_picture import FramePicture, beams_over, frame_picture
from app.library import Library
from app.options import Options, ReadingOptions
from app.overlays import MOST_CANDIDATES, overlay_link
from app.schemas import (
    Answer,
    Candidate,
    CandidateSet,
    Lattice,
    Measurement,
    Provenance,
    Query,
    Twist,
)
from app.uploads import FileUpload, Upload
from index.catalogue import Entry
from index.hits import Hit, SearchResult
from index.timing import milliseconds
from model.crystal import Crystal
from model.crystal.structure_files import VACUUM_ANGSTROM
from model.errors import DomainError, TooLargeError, UnreadableError
from model.matching.indexing import PlaneLattice
from model.matching.measurement import Measurement as FoundMeasurement
from model.pattern import Frame, PatternOptions, Spots, read_with_frame, spots_from_points
from model.pattern.masking import without_masked

logger = logging.getLogger(__name__)

ASSUMED_VOLTAGE_KV = 80.0
# Candidates in a picture.
DRAWN = 6
LOWEST_VOLTAGE_KV, HIGHEST_VOLTAGE_KV = 60.0, 300.0


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
        masks = np.array(options.mask, dtype=np.float64)
        return (without_masked(spots, masks) if len(masks) else spots), frame
    except DomainError:
        raise
    except MemoryError as error:
        raise TooLargeError("the upload does not fit into memory; send fewer pixels or points") from error
    except Exception as error:  # no upload may end in a 500
        logger.exception("a reader met an upload that it did not foresee")
        raise UnreadableError("the upload is damaged or of an unusual kind, and cannot be read") from error


def _read(upload: Upload, pattern: PatternOptions) -> tuple[Spots, Frame | None]:
    if isinstance(upload, FileUpload):
        return read_with_frame(upload.data, upload.filename, pattern)
    return spots_from_points(upload.points, pattern), None


@dataclass(frozen=True)
class Prediction:
    """What came of an upload.

    Attributes:
        answer: for JSON.
        spots: the pattern.
        result: what the search found.
        overlays: the frame with each of the first candidates over it, by rank, where they were asked for.
        drawing_id: under which they are fetched; no client can choose or guess it.
    """

    answer: Answer
    spots: Spots
    result: SearchResult
    overlays: Mapping[int, FramePicture] = field(default_factory=dict)
    drawing_id: str = ""

    def drawn(self) -> str:
        """As SVG: the pattern with its lattice, and a panel for each of the first candidates."""
        panels = [
            drawing.Panel(
                f"{each.rank}. {each.formula} ({each.id})",
                fit_told(f"similarity {each.similarity:.3f}", each.probability, each.match),
                hit.match,
            )
            for each, hit in zip(self.answer.candidates[:DRAWN], self.result.hits, strict=False)
        ]
        spots_alone = drawing.Panel("The pattern", f"{len(self.spots)} spots", None)
        return drawing.drawn(self.spots, self.result.lattice, panels or [spots_alone])


def predict(
    library: Library,
    provenance: Provenance,
    upload: Upload,
    options: Options,
    request_id: str,
    calibrations: Path | None = None,
) -> Prediction:
    """The candidates for an upload; see `read_upload` for what concerns the pattern.

    Raises:
        DomainError: the upload cannot be read, or holds no pattern.
    """
    begun = perf_counter()
    spots, frame = read_upload(upload, options, calibrations)
    voltage = choose_voltage(options.voltage_kv, spots.voltage_kv)
    read = perf_counter()
    result = library.search(
        spots,
        voltage_kv=voltage.kv,
        elements=options.elements(),
        top_k=options.top_k,
        effort=options.effort,
        coverage=options.coverage,
        composition=options.measured_composition(),
        lattice=options.picked_basis(spots),
    )
    searched = perf_counter()
    drawing_id = uuid4().hex
    overlays = _overlays(frame, spots, result) if options.overlay and frame is not None else {}
    candidates = [
        _candidate(
            rank, hit, spots, options.spots, overlay_link(drawing_id, rank) if rank in overlays else None
        )
        for rank, hit in enumerate(result.hits, start=1)
    ]
    timing = {
        "read": milliseconds(begun, read),
        **result.timing_ms,
        "write": milliseconds(searched, perf_counter()),
        "total": milliseconds(begun, perf_counter()),
    }
    answer = Answer(
        request_id=request_id,
        verdict=result.verdict,
        candidates=candidates,
        set=None
        if result.set_size is None
        else CandidateSet(coverage=options.coverage, size=result.set_size),
        measurement=None if result.measurement is None else _measurement(result.measurement),
        query=query_of(
            spots,
            voltage,
            result.lattice,
            result.warnings,
            None if result.overlap is None else twist_of(result.overlap, result.twist, spots),
        ),
        provenance=provenance,
        timing_ms=timing,
    )
    return Prediction(answer, spots, result, overlays, drawing_id)


def _overlays(frame: Frame, spots: Spots, result: SearchResult) -> dict[int, FramePicture]:
    """The frame with each of the first candidates that lie on it."""
    bare = frame_picture(frame, spots, None)
    return {
        rank: replace(bare, shapes=beams_over(spots, hit.match, frame.shape))
        for rank, hit in enumerate(result.hits[:MOST_CANDIDATES], start=1)
        if hit.match is not None
    }


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


def _candidate(rank: int, hit: Hit, spots: Spots, listed: bool, overlay: str | None) -> Candidate:
    entry: Entry = hit.entry
    return Candidate(
        rank=rank,
        id=entry.id,
        source=entry.source,
        formula=entry.formula,
        elements=list(entry.elements),
        layer_group=entry.layer_group,
        lattice=lattice_of(entry.crystal),
        similarity=round(hit.similarity, 6),
        probability=None if hit.probability is None else round(hit.probability, 6),
        group=hit.group,
        in_set=hit.in_set,
        layer=hit.layer,
        match=None if hit.match is None else match_of(hit.match, spots, listed, overlay),
        also=list(hit.also),
        cif=entry.cif(),
    )


def _measurement(found: FoundMeasurement) -> Measurement:
    return Measurement(
        by=found.by,
        text=found.text,
        element=found.element,
        tilt_deg=found.tilt_deg,
        log_ratio=None if found.log_ratio is None else round(found.log_ratio, 1),
    )


def query_of(
    spots: Spots,
    voltage: Voltage,
    lattice: PlaneLattice | None,
    warnings: tuple[str, ...] = (),
    twist: Twist | None = None,
) -> Query:
    """The pattern as it was understood.

    Args:
        spots: the pattern.
        voltage: that was used.
        lattice: its own.
        warnings: of the search.
        twist: of two lattices.
    """
    return Query(
        spots=len(spots),
        center=None if spots.center_px is None else list(spots.center_px),
        pixel_size=spots.pixel_size_inv_angstrom if spots.scale_is_known else None,
        calibration=spots.calibration,
        voltage_kv=voltage.kv,
        lattice=None if lattice is None else lattice_seen(lattice, spots),
        twist=twist,
        quality=quality_seen(spots, lattice),
        warnings=[*spots.warnings, *voltage.warnings, *warnings],
    )
