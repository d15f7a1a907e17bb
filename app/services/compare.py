"""Structures of the user's own, held against a pattern."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.presentation.formats import SVG
from app.presentation.pattern_figure import Panel, draw_figure
from app.presentation.schemas.compare import ComparedStructure, ComparisonSchema, DecidingReflectionSchema
from app.presentation.serialize import serialize_cell, serialize_query
from app.presentation.serialize_match import describe_fit, serialize_match, serialize_reflections
from app.services.options import ReadingOptions
from app.services.predict import choose_voltage, read_upload
from app.services.uploaded_structure import read_uploaded_structure
from app.services.uploads import FileUpload, ParsedRequest
from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.matching.compare import MAX_STRUCTURES, MIN_STRUCTURES, Comparison, DecidingReflection, compare
from model.matching.match import Match
from model.pattern.spots import Spots
from model.stopwatch import Stopwatch


@dataclass(frozen=True)
class Compared:
    """What came of a comparison.

    Attributes:
        answer: for JSON.
        spots: the pattern.
        names: of the structures.
        found: the comparison itself.
    """

    answer: ComparisonSchema
    spots: Spots
    names: tuple[str, ...]
    found: Comparison

    def write(self, media_type: str) -> bytes:
        """Return the comparison in a media type."""
        return (self.draw() if media_type == SVG else self.answer.model_dump_json()).encode()

    def draw(self) -> str:
        """Draw the pattern as SVG: a panel for each structure, with the deciding reflections highlighted."""
        panels = []
        for row, structure in zip(self.found.ranking.tolist(), self.answer.candidates, strict=True):
            deciding = [line.other for line in self.found.deciding_reflections[row] if line.other is not None]
            title = f"{structure.rank}. {self.names[row]} ({structure.formula})"
            panels.append(Panel(title, _told(structure), self.found.matches[row], deciding))
        return draw_figure(self.spots, self.found.lattice, panels)


def compare_upload(
    asked: ParsedRequest[ReadingOptions], request_id: str, version: str, calibrations: Path | None = None
) -> Compared:
    """Hold the structures of a request against its pattern.

    Raises:
        DomainError: pattern or structures that cannot be read or used; the message names the structure.
    """
    watch = Stopwatch()
    crystals = read_structures(asked.structures)
    spots, _ = read_upload(asked.pattern, asked.options, calibrations)
    voltage = choose_voltage(asked.options.voltage_kv, spots.voltage_kv)
    watch.lap("read")
    found = compare(crystals, spots, voltage.kv)
    watch.lap("compare")
    names = tuple(each.filename for each in asked.structures)
    answer = ComparisonSchema(
        request_id=request_id,
        verdict=found.verdict,
        candidates=[
            _serialize_structure(rank, row, names[row], crystals[row], found, spots)
            for rank, row in enumerate(found.ranking.tolist(), start=1)
        ],
        query=serialize_query(
            spots,
            voltage.kv,
            () if found.lattice is None else (found.lattice,),
            (*voltage.warnings, *found.warnings),
        ),
        version=version,
        timing_ms={**watch.milliseconds, "total": watch.total_milliseconds},
    )
    return Compared(answer, spots, names, found)


def read_structures(files: Sequence[FileUpload]) -> list[Crystal]:
    """The crystals of two to twenty files.

    Raises:
        OptionError: fewer or more.
        DomainError: one that cannot be read or used, see `read_uploaded_structure`.
    """
    if not MIN_STRUCTURES <= len(files) <= MAX_STRUCTURES:
        raise OptionError(
            f"{len(files)} structures came; send {MIN_STRUCTURES} to {MAX_STRUCTURES} CIF or POSCAR files in the field "
            "`structures`"
        )
    return [read_uploaded_structure(file) for file in files]


def _serialize_structure(
    rank: int, row: int, name: str, crystal: Crystal, found: Comparison, spots: Spots
) -> ComparedStructure:
    match, first = found.matches[row], found.matches[int(found.ranking[0])]
    likelihood = float(found.log_likelihood[row])
    return ComparedStructure(
        rank=rank,
        name=name,
        formula=crystal.formula,
        elements=list(crystal.elements),
        lattice=serialize_cell(crystal),
        log_likelihood=round(likelihood, 2) if np.isfinite(likelihood) else None,
        probability=None if found.probability is None else round(float(found.probability[row]), 6),
        match=None if match is None else serialize_match(match, spots, with_reflections=False),
        deciding_reflections=(
            []
            if first is None or match is None
            else _serialize_deciding(found.deciding_reflections[row], first, match, spots)
        ),
    )


def _serialize_deciding(
    lines: Sequence[DecidingReflection], first: Match, other: Match, spots: Spots
) -> list[DecidingReflectionSchema]:
    of_first, of_this = serialize_reflections(first, spots), serialize_reflections(other, spots)
    told = []
    for line in lines:
        mine = None if line.first is None else of_first[line.first]
        its = None if line.other is None else of_this[line.other]
        known = [each for each in (mine, its) if each is not None]
        places = [each.position_observed or each.position_calculated for each in known]
        told.append(
            DecidingReflectionSchema(
                position=next(place for place in places if place is not None),
                intensity_observed=known[0].intensity_observed,
                in_first=mine,
                in_this=its,
                log_likelihood_ratio=round(line.log_likelihood_ratio, 2),
            )
        )
    return told


def _told(structure: ComparedStructure) -> str:
    if structure.match is None:
        return "its lattice does not fit"
    description = f"ln likelihood {structure.log_likelihood:+.1f}"
    return describe_fit(description, structure.probability, structure.match)
