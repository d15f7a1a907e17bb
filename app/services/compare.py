"""Compare structures uploaded by the user with a pattern."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.presentation.formats import SVG
from app.presentation.pattern_figure import Panel, describe_fit, draw_figure
from app.presentation.schemas.compare import ComparedStructure, ComparisonSchema, DecidingReflectionSchema
from app.presentation.serialize import (
    serialize_cell,
    serialize_match,
    serialize_query,
    serialize_reflections,
)
from app.services.options import ReadingOptions
from app.services.search_index import get_software_version
from app.services.structures import read_structure_files
from app.services.uploads import FileUpload, ParsedRequest, read_pattern
from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.matching.compare import MAX_STRUCTURES, MIN_STRUCTURES, Comparison, DecidingReflection, compare
from model.matching.match import Match
from model.pattern.spots import Spots
from model.stopwatch import Stopwatch


@dataclass(frozen=True)
class ComparisonReport:
    """The answer to a comparison.

    Attributes:
        answer: the answer for JSON.
        spots: the spots of the pattern.
        names: filenames of the structures.
        comparison: the comparison itself.
    """

    answer: ComparisonSchema
    spots: Spots
    names: tuple[str, ...]
    comparison: Comparison

    def write(self, media_type: str) -> bytes:
        """Return the comparison in a media type."""
        return (self.draw() if media_type == SVG else self.answer.model_dump_json()).encode()

    def draw(self) -> str:
        """Draw the pattern as SVG: a panel for each structure, with the deciding reflections highlighted."""
        comparison = self.comparison
        panels = []
        for row, structure in zip(comparison.ranking.tolist(), self.answer.candidates, strict=True):
            deciding = [line.other for line in comparison.deciding_reflections[row] if line.other is not None]
            title = f"{structure.rank}. {self.names[row]} ({structure.formula})"
            panels.append(Panel(title, _describe(structure), comparison.matches[row], deciding))
        return draw_figure(self.spots, comparison.lattice, panels)


def compare_upload(
    request: ParsedRequest[ReadingOptions], request_id: str, calibrations: Path | None = None
) -> ComparisonReport:
    """Compare the structures of a request with its pattern.

    Raises:
        DomainError: the pattern or a structure cannot be read or used; the message names the structure.
    """
    watch = Stopwatch()
    crystals = _read_structures(request.structures)
    pattern = read_pattern(request.pattern, request.options, calibrations)
    spots, voltage = pattern.spots, pattern.voltage
    watch.lap("read")
    comparison = compare(crystals, spots, voltage.kv)
    watch.lap("compare")
    names = tuple(each.filename for each in request.structures)
    answer = ComparisonSchema(
        request_id=request_id,
        verdict=comparison.verdict,
        candidates=[
            _serialize_structure(rank, row, names[row], crystals[row], comparison, spots)
            for rank, row in enumerate(comparison.ranking.tolist(), start=1)
        ],
        query=serialize_query(
            spots,
            voltage.kv,
            () if comparison.lattice is None else (comparison.lattice,),
            (*voltage.warnings, *comparison.warnings),
        ),
        version=get_software_version(),
        timing_ms={**watch.milliseconds, "total": watch.total_milliseconds},
    )
    return ComparisonReport(answer, spots, names, comparison)


def _read_structures(files: Sequence[FileUpload]) -> list[Crystal]:
    if not MIN_STRUCTURES <= len(files) <= MAX_STRUCTURES:
        raise OptionError(
            f"The request has {len(files)} structures; send {MIN_STRUCTURES} to {MAX_STRUCTURES} CIF or POSCAR files "
            "in the field `structures`."
        )
    return read_structure_files(files)


def _serialize_structure(
    rank: int, row: int, name: str, crystal: Crystal, comparison: Comparison, spots: Spots
) -> ComparedStructure:
    match, first = comparison.matches[row], comparison.matches[int(comparison.ranking[0])]
    log_likelihood, probability = float(comparison.log_likelihood[row]), comparison.probability
    return ComparedStructure(
        rank=rank,
        name=name,
        formula=crystal.formula,
        elements=list(crystal.elements),
        lattice=serialize_cell(crystal),
        log_likelihood=round(log_likelihood, 2) if np.isfinite(log_likelihood) else None,
        probability=None if probability is None else round(float(probability[row]), 6),
        match=None if match is None else serialize_match(match, spots, with_reflections=False),
        deciding_reflections=(
            []
            if first is None or match is None
            else _serialize_deciding(comparison.deciding_reflections[row], first, match, spots)
        ),
    )


def _serialize_deciding(
    deciding: Sequence[DecidingReflection], first: Match, other: Match, spots: Spots
) -> list[DecidingReflectionSchema]:
    lines_of_first, lines_of_other = serialize_reflections(first, spots), serialize_reflections(other, spots)
    schemas = []
    for reflection in deciding:
        in_first = None if reflection.first is None else lines_of_first[reflection.first]
        in_this = None if reflection.other is None else lines_of_other[reflection.other]
        lines = [line for line in (in_first, in_this) if line is not None]
        positions = [line.position_observed or line.position_calculated for line in lines]
        schemas.append(
            DecidingReflectionSchema(
                position=next(position for position in positions if position is not None),
                intensity_observed=lines[0].intensity_observed,
                in_first=in_first,
                in_this=in_this,
                log_likelihood_ratio=round(reflection.log_likelihood_ratio, 2),
            )
        )
    return schemas


def _describe(structure: ComparedStructure) -> str:
    if structure.match is None:
        return "The lattice does not fit."
    likelihood = f"ln likelihood {structure.log_likelihood:+.1f}"
    return describe_fit(likelihood, structure.probability, structure.match)
