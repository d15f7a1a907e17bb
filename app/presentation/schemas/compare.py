"""The answer to `POST /compare`."""

from pydantic import Field

from app.presentation.schemas.match import ComparedReflection, MatchSchema
from app.presentation.schemas.predict import Verdict
from app.presentation.schemas.query import QuerySchema
from app.presentation.schemas.schema import Schema
from app.presentation.schemas.structures import UnitCell


class DecidingReflectionSchema(Schema):
    """A spot or missing reflection that distinguishes a structure from the most likely one."""

    position: list[float] = Field(description="[x, y] in pixels on the camera, otherwise in 1/angstrom.")
    intensity_observed: float | None = Field(
        description="Intensity relative to the strongest spot. Null if there is no spot."
    )
    in_first: ComparedReflection | None = Field(
        description="The reflection in the most likely structure. Null if it has none here."
    )
    in_this: ComparedReflection | None = Field(
        description="The reflection in this structure. Null if it has none here."
    )
    log_likelihood_ratio: float = Field(
        description="Natural logarithm of the likelihood ratio of the most likely structure to this one. Negative "
        "values favor this structure."
    )


class ComparedStructure(Schema):
    """One of the compared structures."""

    rank: int = Field(description="Position in the list, from 1.")
    name: str = Field(description="File name, or `structure 1` and so on in a JSON request.")
    formula: str
    elements: list[str]
    lattice: UnitCell
    log_likelihood: float | None = Field(
        description="Natural logarithm of the likelihood relative to the first structure. Null if the lattice does not "
        "fit."
    )
    probability: float | None = Field(
        description="Calibrated probability, assuming equal prior probabilities. The sum is at most 1; the remainder "
        "is the probability of no match. Null without intensities."
    )
    match: MatchSchema | None = Field(description="Null if the lattice does not fit.")
    deciding_reflections: list[DecidingReflectionSchema] = Field(
        description="The reflections that distinguish this structure from the first, most decisive first. Empty for "
        "the first."
    )


class ComparisonSchema(Schema):
    """Structures compared with one pattern."""

    request_id: str
    verdict: Verdict | None = Field(
        description="`match`: one structure has a probability of at least 0.9. `no_match`: probably none of them is "
        "correct. `ambiguous`: otherwise. Null without intensities."
    )
    candidates: list[ComparedStructure] = Field(description="The structures, most likely first.")
    query: QuerySchema
    version: str = Field(description="Version of the software.")
    timing_ms: dict[str, float] = Field(description="Duration of each stage, in milliseconds.")
