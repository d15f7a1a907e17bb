"""What the service answers, as docs/http-api.md describes it. Keys are only ever added."""

from typing import Any, Literal

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


class Line(Schema):
    """A spot of the pattern, a beam of the crystal, or both where they meet."""

    h: int = Field(description="In the cell of the CIF; of a spot that is extra, those of the nearest beam.")
    k: int
    status: Literal["explained", "extra", "missing"] = Field(
        description="`extra`: a spot without a beam. `missing`: a beam that should have been seen."
    )
    d_observed: float | None = Field(
        description="angstrom, by the pattern's scale, or where that is unknown by the one that the crystal implies; "
        "null where there is no spot."
    )
    d_calculated: float | None = Field(
        description="angstrom, by the cell of the CIF; null of a spot that is extra."
    )
    position: list[float] | None = Field(
        description="Of the spot, [x, y]: on the camera in pixels, else in 1/angstrom."
    )
    calculated_position: list[float] | None = Field(
        description="Of the beam by the fit; null of a spot that is extra."
    )
    intensity_observed: float | None = Field(
        description="Of the strongest spot's; null without intensities, and where there is no spot."
    )
    intensity_calculated: float | None = Field(description="On the same scale, by the fit.")
    intensity_sigma: float | None = Field(
        description="Expected rms of their difference: of the spot, the model and the noise that the pattern shows."
    )


class Match(Schema):
    """How a candidate's computed pattern lies on the measured one. Null stands for what was not fitted."""

    rotation_deg: float = Field(description="Rotation of the pattern on the camera, after the mirror.")
    rotation_sigma_deg: float = Field(
        description="Standard error, as of every value with `sigma` in its name."
    )
    mirrored: bool = Field(description="The camera sees the crystal's pattern mirrored.")
    face_down: bool = Field(
        description="The beam meets the other face than the CIF's upper one; false where both are the same."
    )
    tilt_deg: float = Field(description="Angle between the beam and the layer's normal.")
    tilt_sigma_deg: float | None
    tilt_azimuth_deg: float = Field(
        description="Direction of the tilt in the frame of the flake as it lies, from a towards b."
    )
    tilt_azimuth_sigma_deg: float | None
    scale: float | None = Field(
        description="Measured over computed lengths in reciprocal space; null where the pattern's scale is unknown."
    )
    scale_sigma: float | None
    pixel_size: float | None = Field(
        description="1/angstrom per pixel at which the pattern is this crystal's; null for positions in q."
    )
    distortion: float = Field(description="Ratio of the axes of a circle's image, less 1.")
    distortion_sigma: float
    b_factor: float | None = Field(
        description="Debye-Waller B of all atoms, angstrom^2, with the camera's response in it."
    )
    b_factor_sigma: float | None
    explained: float = Field(
        description="Share of the measured intensity (of the spots, without intensities) that lies on the lattice."
    )
    missing: float = Field(description="Share of the beams expected to be seen that were not.")
    extra: float = Field(description="Share of the spots that lie on no beam.")
    r_factor: float | None = Field(
        description="Sum of |sqrt I - sqrt I_c| over sum of sqrt I, of the spots with a beam; null without intensities."
    )
    refined: bool = Field(
        default=True,
        description="Fitted with shifted atoms and the pattern's own noise; false where it is out of question and was "
        "fitted roughly, the atoms where the library has them.",
    )
    spots: list[Line] | None = Field(description="Spot by spot, with `reflections=true`; else null.")
    overlay: str | None = Field(
        default=None,
        description="Path of a picture of the candidate over the frame, with `overlay=true`; kept for some minutes.",
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
    group: int | None = Field(
        default=None,
        description="Candidates of the same number are hardly told apart by the pattern; the likeliest have 1. Null "
        "where the candidate was not refined.",
    )
    in_set: bool | None = Field(
        default=None, description="Whether it is in the answer's `set`. Null without probabilities."
    )
    layer: Literal[1, 2] | None = Field(
        default=None, description="Of a pattern of two lattices, which of them it explains; else null."
    )
    match: Match | None = Field(
        default=None,
        description="Null with `search`, where the lattice cannot be laid on the pattern, and from the eleventh "
        "candidate on where it was not refined.",
    )
    also: list[str] = Field(default=[], description="Ids of other entries that are the same crystal.")
    cif: str


class CandidateSet(Schema):
    """The first candidates, so many that they hold the crystal in a given share of cases, if it is in the index."""

    coverage: float = Field(description="The share, as asked for.")
    size: int = Field(description="How many; perhaps more than are listed.")


class Measurement(Schema):
    """What would part the candidates of the first group."""

    by: Literal["element", "tilt", "resolution", "nothing"]
    text: str = Field(description="What to do, as a sentence.")
    element: str | None = Field(description="To look for.")
    tilt_deg: float | None
    log_ratio: float | None = Field(
        description="ln of the likelihood ratio of the first two that it promises; null for an element."
    )


class PlaneLattice(Schema):
    """The lattice found in the pattern itself, primitive and reduced: a <= b, gamma 90 to 120 degrees.

    Where the scale is unknown, a and b are null and their ratio counts.
    """

    a: float | None = Field(description="angstrom.")
    b: float | None = Field(description="angstrom.")
    gamma: float = Field(description="degrees.")
    a_sigma: float | None = Field(description="Standard error, the camera's scale taken as exact.")
    b_sigma: float | None
    gamma_sigma: float
    ratio: float = Field(description="b over a.")
    bravais: Literal["hexagonal", "square", "rectangular", "centred rectangular", "oblique"] = Field(
        description="The highest symmetry that the lattice may have within its errors and 1.5 % of distortion."
    )
    reciprocal: list[list[float]] = Field(
        description="a* and b* as the camera sees them: [x, y] in pixels for positions in pixels, else 1/angstrom."
    )
    explained: float = Field(description="Share of the spots that lie on it.")


class Twist(Schema):
    """Two lattices in one pattern: a twisted pair of layers, or two flakes in the beam."""

    twist_deg: float | None = Field(
        description="Angle between the a axes of the first candidates of both layers, as small as the symmetry of "
        "their lattices makes it (30 at most for hexagonal ones); null where one could not be laid on the spots."
    )
    twist_sigma_deg: float | None
    lattices: list[PlaneLattice] = Field(description="Seen of layer 1 and of layer 2.")


class Quality(Schema):
    """What the spots are like."""

    q_min: float | None = Field(
        description="Smallest |q| of the spots, 1/angstrom; null where the scale is unknown."
    )
    q_max: float | None = Field(description="Largest |q| of the spots, likewise.")
    dynamic_range: float | None = Field(description="Strongest spot by weakest; null without intensities.")
    d_min: float | None = Field(
        default=None, description="Resolution: 1 over `q_max`, angstrom; null where the scale is unknown."
    )
    grade: Literal["good", "fair", "poor"] | None = Field(
        default=None,
        description="By the worst of number, range and reach of the spots, saturation and centre.",
    )
    advice: list[str] = Field(default=[], description="What would make the pattern better.")
    ellipticity: float | None = Field(
        default=None,
        description="Ratio of the axes of a circle's image, less 1; null unless the lattice is hexagonal or square.",
    )
    ellipticity_sigma: float | None = None
    saturated: int | None = Field(
        default=None,
        description="Spots with clipped pixels, whose intensities were told from their flanks. Null for points.",
    )
    center_method: Literal["symmetry", "request", "extrapolated"] | None = Field(
        default=None,
        description="How the centre of a frame was found; `extrapolated` is a node of the spots' lattice, mostly off "
        "the frame, that they and the ground fall off from. Null for points.",
    )
    center_probability: float | None = Field(
        default=None,
        description="Probability that it is right, where it was extrapolated or something speaks against it.",
    )
    paired: float | None = Field(
        default=None,
        description="Share of the spots that have their mate across the centre, strong ones counting more; null for "
        "points.",
    )
    beam_stop: bool | None = Field(
        default=None, description="Whether a shadow covers a part of the frame; null for points."
    )
    spot_width: float | None = Field(
        default=None, description="Gaussian deviation of the spots in pixels; null for points."
    )


class Query(Schema):
    """The pattern as it was understood."""

    spots: int = Field(description="Number of spots besides the direct beam.")
    center: list[float] | None = Field(
        description="The direct beam, [x, y] in pixels; null for positions in q."
    )
    pixel_size: float | None = Field(
        description="1/angstrom per pixel; null for positions in q, and where it is unknown."
    )
    calibration: Literal["request", "file", "rings", "unknown"] = Field(
        description="Where the scale came from; `rings` are those of a support film beside the spots."
    )
    scale_sigma: float | None = Field(
        default=None,
        description="rms error of the scale that was supposed, as a fraction; null where it is unknown.",
    )
    voltage_kv: float = Field(description="Accelerating voltage that was used.")
    lattice: PlaneLattice | None = Field(
        default=None, description="Null where the spots show none, and with `search` at a known scale."
    )
    twist: Twist | None = Field(default=None, description="Null where the spots are those of one lattice.")
    quality: Quality
    options: dict[str, Any] | None = Field(
        default=None, description="The options that were given, so that `/replay` can ask again."
    )
    warnings: list[str] = Field(description="What was assumed, and what to do about it.")


class Pattern(Schema):
    """The spots of a pattern, as they would be sent as points."""

    points: list[list[float]] = Field(description="[x, y, intensity], or [x, y].")
    units: Literal["1/angstrom", "pixel"]
    center: list[float] | None = Field(description="The direct beam of points in pixels, [x, y].")
    pixel_size: float | None = Field(description="1/angstrom per pixel, where it is known.")
    scale_sigma: float | None = Field(default=None, description="rms error of the scale, where it is known.")


class Provenance(Schema):
    """What made the answer."""

    version: str
    model: str = Field(description="Digest of the weights, sha256:...")
    index: str = Field(description="Digest of the index, sha256:...")
    crystals: int = Field(description="All that are searched, those that were added to the index too.")
    added: int = Field(0, description="How many of them were added to the index while it is served.")


class Answer(Schema):
    """The candidates for one pattern."""

    request_id: str
    verdict: Literal["match", "ambiguous", "no_match"] | None = Field(
        default=None,
        description="`match`: one candidate has a probability of at least 0.9. `no_match`: likely none is right. "
        "`ambiguous`: otherwise. A layer that fits does not exclude a bulk crystal with the same zone. Null with "
        "`search`, unless no crystal is left to be searched, and without intensities, unless the spots lie on no "
        "lattice.",
    )
    caveat: str | None = Field(
        default=None,
        description="What a verdict other than `no_match` leaves open; null where there is none.",
    )
    candidates: list[Candidate]
    set: CandidateSet | None = Field(default=None, description="Null without probabilities.")
    measurement: Measurement | None = Field(
        default=None, description="Null where the first candidate stands alone, or nothing was verified."
    )
    query: Query
    pattern: Pattern | None = Field(default=None, description="With `record=true`.")
    provenance: Provenance
    timing_ms: dict[str, float]


class Moved(Schema):
    """A candidate that stands elsewhere than it stood."""

    id: str
    formula: str
    rank_then: int | None = Field(description="Null where it was none.")
    rank_now: int | None = Field(description="Null where it is none any more.")
    probability_then: float | None
    probability_now: float | None


class Replay(Schema):
    """A stored answer beside that of today."""

    request_id: str
    changed: bool = Field(description="Whether verdict, ranking or a probability (by 0.005) differs.")
    verdict_then: str | None
    verdict_now: str | None
    moved: list[Moved] = Field(description="Candidates that came, went or moved, in the order of today.")
    provenance_changed: dict[str, list[Any]] = Field(
        description="What made the answers: then and now, where they differ."
    )
    answer: Answer = Field(description="That of today.")


class Progress(Schema):
    """How far a batch is."""

    file: int = Field(description="Number of the pattern's file, from 1.")
    of: int = Field(description="Files in the request.")


class BatchLine(Schema):
    """A line of the answer to many patterns."""

    index: int = Field(description="From 0, in the order of the request.")
    name: str = Field(description="Of the file; of one in a zip the zip's, a slash, and its own.")
    image: int | None = Field(description="Number of the image, from 0, of a file with several.")
    progress: Progress
    status: int = Field(description="As if the pattern had come alone.")
    answer: Answer | None = Field(description="Null where there is a problem.")
    problem: "Problem | None" = Field(description="Null where there is an answer.")


class InspectedSpot(Schema):
    """A spot as it was measured."""

    position: list[float] = Field(description="[x, y] in pixels, or q in 1/angstrom for positions in q.")
    position_sigma: float | None = Field(description="Standard error of each, pixels; null for points.")
    d: float | None = Field(description="angstrom; null where the scale is unknown.")
    intensity: float | None = Field(description="Integrated, free of background; null where it is not known.")
    intensity_sigma: float | None = Field(description="Standard error; null for points.")
    saturated: bool | None = Field(
        description="Whether the intensity was told from the flanks; null for points."
    )
    hk: list[int] | None = Field(description="Indices in the pattern's own lattice; null off it.")


class FrameSeen(Schema):
    """The camera frame as it was read."""

    width: int
    height: int
    format: str


class Inspection(Schema):
    """A pattern as it was understood, without any search."""

    request_id: str
    frame: FrameSeen | None = Field(description="Null for points.")
    spots: list[InspectedSpot] = Field(description="The strongest first.")
    measured: list[InspectedSpot] = Field(
        default=[],
        description="What lies at the places asked for by `measure`, in their order; the intensity is null where "
        "nothing stands out by two standard errors.",
    )
    query: Query
    version: str
    timing_ms: dict[str, float]


class Deciding(Schema):
    """A spot, or a beam that should have been seen, which tells two structures apart."""

    position: list[float] = Field(description="[x, y]: on the camera in pixels, else in 1/angstrom.")
    intensity_observed: float | None = Field(
        description="Of the strongest spot's; null where there is no spot."
    )
    of_first: Line | None = Field(description="What it is to the likeliest structure; null: nothing.")
    of_this: Line | None = Field(description="What it is to this structure; null: nothing.")
    log_ratio: float = Field(
        description="ln of its likelihood by the likeliest structure over that by this one; negative speaks for this."
    )


class Hypothesis(Schema):
    """One of the structures that were compared."""

    rank: int
    name: str = Field(description="Of its file, or `structure 1` and so on for those of a JSON request.")
    formula: str
    elements: list[str]
    lattice: Lattice
    log_likelihood: float | None = Field(
        description="ln likelihood less that of the first; null where the lattice does not fit."
    )
    probability: float | None = Field(
        description="Calibrated, if all were as likely before; they sum to at most 1, the rest is none of these. "
        "Null without intensities."
    )
    match: Match | None = Field(description="Null where the lattice does not fit.")
    deciding: list[Deciding] = Field(
        description="What tells it from the first, the most telling first; empty for the first."
    )


class Comparison(Schema):
    """Structures held against one pattern, the likeliest first."""

    request_id: str
    verdict: Literal["match", "ambiguous", "no_match"] | None = Field(
        description="`match`: one has a probability of at least 0.9. `no_match`: likely none is right. Null without "
        "intensities."
    )
    hypotheses: list[Hypothesis]
    query: Query
    version: str
    timing_ms: dict[str, float]


class Structure(Schema):
    """One crystal of the index."""

    id: str
    source: str
    license: str | None
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


class AddedStructure(Structure):
    """A structure that was added to the library."""

    same_as: list[str] = Field(description="Ids of the others in the library that are the same crystal.")


class ServedIndex(Schema):
    """The version of the index that is served."""

    name: str = Field(description="Of the version; `POST /admin/reload` goes to a version by it.")
    created: str = Field(description="UTC, ISO 8601.")
    index: str = Field(description="Digest of the index, sha256:...")
    crystals: int = Field(description="All that are searched, those that were added to the index too.")
    added: int = Field(description="How many of them were added to the index while it is served.")


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
