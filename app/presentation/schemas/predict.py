"""The answer to `POST /predict`. Keys may be added in later versions, but never removed."""

from typing import Any, Literal

from pydantic import Field

from app.presentation.schemas.match import MatchSchema
from app.presentation.schemas.query import QuerySchema
from app.presentation.schemas.schema import Schema
from app.presentation.schemas.service import Provenance
from app.presentation.schemas.structures import UnitCell

Verdict = Literal["match", "ambiguous", "no_match"]


class CandidateSchema(Schema):
    """A crystal proposed as the answer."""

    rank: int = Field(description="Position in the list, from 1.")
    id: str
    source: str = Field(description="Name of the database.")
    formula: str
    elements: list[str]
    layer_group: int = Field(description="Number of the layer group, 1 to 80.")
    layers: int | None = Field(default=None, description="Number of layers. Reserved; always null.")
    stacking: str | None = Field(default=None, description="Stacking of the layers. Reserved; always null.")
    lattice: UnitCell
    similarity: float = Field(
        description="Cosine similarity of the embeddings of pattern and crystal, -1 to 1."
    )
    probability: float | None = Field(
        default=None,
        description="Probability that this is the crystal. The sum over the candidates is at most 1; the remainder is "
        "the probability of no match. Null if the candidate was not refined.",
    )
    equivalence_group: int | None = Field(
        default=None,
        description="Candidates with the same number are indistinguishable from this pattern; the most probable ones "
        "have number 1. Null if the candidate was not refined.",
    )
    in_confidence_set: bool | None = Field(
        default=None,
        description="Whether the candidate belongs to `confidence_set`. Null without probabilities.",
    )
    lattice_number: int | None = Field(
        default=None,
        description="The lattice that the candidate explains, as the number of an entry in `query.lattices`, counted "
        "from 1. Null if the pattern has one lattice or none.",
    )
    match: MatchSchema | None = Field(
        default=None,
        description="Null with `effort=search`, if the crystal's lattice does not fit the pattern, and from the "
        "eleventh candidate on if it was not refined.",
    )
    same_as: list[str] = Field(default=[], description="Ids of the other entries that are the same crystal.")
    facts: dict[str, Any] | None = Field(
        default=None, description="Properties stated by the source. Reserved; always null."
    )
    cif: str = Field(description="The structure as CIF.")


class ConfidenceSet(Schema):
    """The smallest set of leading candidates that contains the crystal with the requested coverage."""

    coverage: float = Field(
        description="Requested fraction of patterns whose confidence set contains the crystal, provided that it "
        "is in the library."
    )
    size: int = Field(description="Number of leading candidates in the set; may exceed the number listed.")


class NextMeasurementSchema(Schema):
    """The measurement that would distinguish the candidates of the first equivalence group."""

    method: Literal["element", "tilt", "resolution", "nothing"] = Field(
        description="What to measure: an element, the pattern at another tilt, or spots at higher resolution."
    )
    advice: str = Field(description="What to do, as a sentence.")
    element: str | None = Field(description="The element to look for.")
    tilt_deg: float | None = Field(description="The tilt to record at, in degrees.")
    log_likelihood_ratio: float | None = Field(
        description="Expected natural logarithm of the likelihood ratio of the first two candidates after the "
        "measurement. Null for an element."
    )


class RecordedPattern(Schema):
    """The spots of a pattern, in the form in which `/predict` accepts points."""

    points: list[list[float]] = Field(description="[x, y, intensity], or [x, y] without intensities.")
    units: Literal["1/angstrom", "pixel"]
    center: list[float] | None = Field(
        description="Position of the direct beam, [x, y], for points in pixels."
    )
    pixel_size: float | None = Field(description="Pixel size in 1/angstrom per pixel, if known.")
    scale_sigma: float | None = Field(
        default=None, description="Relative standard uncertainty of the scale, if the scale is known."
    )


class Answer(Schema):
    """The candidates for a pattern."""

    request_id: str
    verdict: Verdict | None = Field(
        default=None,
        description="`match`: one candidate has a probability of at least 0.9. `no_match`: probably none of the "
        "candidates is correct. `ambiguous`: otherwise. Null with `effort=search`, unless no crystal satisfies the "
        "constraints, and without intensities, unless the spots lie on no lattice.",
    )
    caveat: str | None = Field(
        default=None,
        description="What the verdict does not exclude. Null with `no_match` and without a verdict.",
    )
    candidates: list[CandidateSchema]
    confidence_set: ConfidenceSet | None = Field(default=None, description="Null without probabilities.")
    next_measurement: NextMeasurementSchema | None = Field(
        default=None,
        description="Null if the first candidate is distinguishable from all others, or no candidate was verified.",
    )
    query: QuerySchema
    pattern: RecordedPattern | None = Field(
        default=None, description="The spots of the pattern. Null unless the request sets `record=true`."
    )
    provenance: Provenance
    timing_ms: dict[str, float] = Field(description="Duration of each stage, in milliseconds.")
