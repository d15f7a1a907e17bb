"""What the service answers, as docs/http-api.md describes it. Keys are only ever added."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    """Base of every answer: made once, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class Lattice(Schema):
    """Cell lengths in angstrom and angles in degrees; c is the layer normal, its length vacuum."""

    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float


class Match(Schema):
    """How a candidate's computed pattern lies on the measured one."""

    rotation_deg: float = Field(description="Rotation of the pattern on the camera, after the mirror.")
    mirrored: bool = Field(description="The camera sees the crystal's pattern mirrored.")
    face_down: bool = Field(
        description="The beam meets the other face than the CIF's upper one; false where both are the same."
    )
    tilt_deg: float = Field(description="Angle between the beam and the layer's normal.")
    tilt_azimuth_deg: float = Field(
        description="Direction of the tilt in the crystal's frame, from a towards b."
    )
    tilt_sigma_deg: float | None = Field(
        description="Standard error of the tilt; null where it was not fitted."
    )
    scale: float = Field(description="Measured over computed lengths in reciprocal space.")
    distortion: float = Field(description="Ratio of the axes of a circle's image, less 1.")
    explained: float = Field(description="Share of the measured intensity that lies on the lattice.")
    missing: float = Field(description="Share of the beams expected to be seen that were not.")
    extra: float = Field(description="Share of the spots that lie on no beam.")
    r_factor: float | None = Field(
        description="Sum of |sqrt I - sqrt I_c| over sum of sqrt I, of the spots with a beam; null without intensities."
    )


class Candidate(Schema):
    """A crystal that may have made the pattern."""

    rank: int
    id: str
    source: str
    formula: str
    elements: list[str]
    layer_group: int
    lattice: Lattice
    similarity: float = Field(description="Cosine of the towers' vectors, -1 to 1.")
    probability: float | None = Field(
        default=None,
        description="Of being the crystal; they sum to at most 1, the rest is none of these. Null where the candidate "
        "was not refined.",
    )
    match: Match | None = Field(default=None, description="Null where the candidate was not refined.")
    also: list[str] = Field(default=[], description="Ids of other entries that are the same crystal.")
    cif: str


class PlaneLattice(Schema):
    """A lattice found in the pattern itself."""

    a: float
    b: float
    gamma: float


class Quality(Schema):
    """What the spots are like."""

    q_min: float = Field(description="Smallest |q| of the spots, 1/angstrom.")
    q_max: float = Field(description="Largest |q| of the spots, 1/angstrom.")
    dynamic_range: float | None = Field(description="Strongest spot by weakest; null without intensities.")


class Query(Schema):
    """The pattern as it was understood."""

    spots: int = Field(description="Number of spots besides the direct beam.")
    center: list[float] | None = Field(
        description="The direct beam, [x, y] in pixels; null for positions in q."
    )
    pixel_size: float | None = Field(description="1/angstrom per pixel; null for positions in q.")
    calibration: Literal["request", "file", "unknown"] = Field(description="Where the scale came from.")
    voltage_kv: float = Field(description="Accelerating voltage that was used.")
    lattice: PlaneLattice | None = Field(default=None, description="Null: not computed by this build.")
    quality: Quality
    warnings: list[str] = Field(description="What was assumed, and what to do about it.")


class Provenance(Schema):
    """What made the answer."""

    version: str
    model: str = Field(description="Digest of the weights, sha256:...")
    index: str = Field(description="Digest of the index, sha256:...")
    crystals: int


class Answer(Schema):
    """The candidates for one pattern."""

    request_id: str
    verdict: Literal["match", "ambiguous", "no_match"] | None = Field(
        default=None,
        description="`match`: one candidate has a probability of at least 0.9. `no_match`: likely none is right. "
        "`ambiguous`: otherwise. Null with `search`, and without intensities.",
    )
    candidates: list[Candidate]
    query: Query
    provenance: Provenance
    timing_ms: dict[str, float]


class Structure(Schema):
    """One crystal of the index."""

    id: str
    source: str
    licence: str | None
    reference: str | None = Field(
        description="The work that describes the crystal; of the starter library also what of it was not checked."
    )
    formula: str
    elements: list[str]
    layer_group: int
    layer_group_symbol: str
    space_group: int
    space_group_symbol: str
    lattice: Lattice
    cif: str


class Alive(Schema):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(Schema):
    """Model and index answered a pattern of graphene."""

    status: Literal["ready"] = "ready"
    crystals: int
    canary_ms: float


class Problem(Schema):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="Kind of the problem, urn:dd2d:problem:... or about:blank.")
    title: str
    status: int
    detail: str = Field(description="What is wrong, and what to do about it.")
    request_id: str
