"""The uploaded pattern as the service interpreted it."""

from typing import Any, Literal

from pydantic import Field

from app.presentation.schemas.schema import Schema


class PatternLatticeSchema(Schema):
    """The lattice found in the pattern: primitive and reduced, a <= b, gamma between 90 and 120 degrees.

    If the scale is unknown, a and b are null and only their ratio is given.
    """

    a: float | None = Field(description="Lattice parameter a in angstrom.")
    b: float | None = Field(description="Lattice parameter b in angstrom.")
    gamma: float = Field(description="Angle between a and b in degrees.")
    a_sigma: float | None = Field(
        description="Standard uncertainty of `a`, excluding that of the camera's scale."
    )
    b_sigma: float | None = Field(
        description="Standard uncertainty of `b`, excluding that of the camera's scale."
    )
    gamma_sigma: float = Field(description="Standard uncertainty of `gamma`.")
    b_over_a: float = Field(description="Ratio b/a.")
    bravais: Literal["hexagonal", "square", "rectangular", "centred rectangular", "oblique"] = Field(
        description="The highest-symmetry Bravais lattice compatible with the standard uncertainties and a distortion "
        "of 1.5 %."
    )
    reciprocal: list[list[float]] = Field(
        description="a* and b* as seen on the camera: [x, y] in pixels for positions in pixels, otherwise in "
        "1/angstrom."
    )
    explained: float = Field(description="Fraction of the spots that lie on this lattice.")


class TwistSchema(Schema):
    """The twist angle between two lattices of the pattern."""

    lattice_numbers: list[int] = Field(
        description="The two lattices, as numbers of entries in `lattices`, counted from 1."
    )
    twist_deg: float | None = Field(
        description="Angle between the a axes of the best candidates for the two lattices, in degrees, reduced by the "
        "symmetry of the lattices (at most 30 for hexagonal ones). Null if either candidate has no match."
    )
    twist_sigma_deg: float | None = Field(description="Standard uncertainty of `twist_deg`.")


class QualitySchema(Schema):
    """The quality of the pattern."""

    q_min: float | None = Field(
        description="Length of the shortest scattering vector of a spot in 1/angstrom. Null if the scale is unknown."
    )
    q_max: float | None = Field(
        description="Length of the longest scattering vector of a spot in "
        "1/angstrom. Null if the scale is unknown."
    )
    dynamic_range: float | None = Field(
        description="Intensity of the strongest spot divided by that of the weakest. Null without intensities."
    )
    d_min: float | None = Field(
        default=None, description="Resolution 1/`q_max` in angstrom. Null if the scale is unknown."
    )
    grade: Literal["good", "fair", "poor"] | None = Field(
        default=None,
        description="The worst of the grades for number of spots, dynamic range, resolution, saturation and center.",
    )
    advice: list[str] = Field(default=[], description="How to record a better pattern.")
    ellipticity: float | None = Field(
        default=None,
        description="Ratio of the axes of the image of a circle, minus 1. Null unless the lattice is hexagonal or "
        "square.",
    )
    ellipticity_sigma: float | None = Field(
        default=None, description="Standard uncertainty of `ellipticity`."
    )
    saturated_spots: int | None = Field(
        default=None,
        description="Number of spots with saturated pixels; their intensities are estimated from the unsaturated "
        "pixels. Null for points.",
    )
    center_method: Literal["symmetry", "request", "extrapolated"] | None = Field(
        default=None,
        description="How the center of the frame was found. `extrapolated`: it is a node of the spots' lattice, "
        "usually outside the frame, from which the spots and the background decay. Null for points.",
    )
    center_probability: float | None = Field(
        default=None,
        description="Probability that the center is correct. Null unless it was extrapolated or is in doubt.",
    )
    paired_fraction: float | None = Field(
        default=None,
        description="Fraction of the spots whose Friedel mate is present, weighted toward strong spots. Null for "
        "points.",
    )
    beam_stop: bool | None = Field(
        default=None, description="Whether a shadow covers part of the frame. Null for points."
    )
    spot_width: float | None = Field(
        default=None, description="Standard deviation of the spot profile in pixels. Null for points."
    )


class QuerySchema(Schema):
    """The uploaded pattern as the service interpreted it."""

    spots: int = Field(description="Number of spots, excluding the direct beam.")
    center: list[float] | None = Field(
        description="Position of the direct beam, [x, y] in pixels. Null for positions in 1/angstrom or 1/nm."
    )
    pixel_size: float | None = Field(
        description="Pixel size in 1/angstrom per pixel. Null if unknown, and for positions in 1/angstrom or 1/nm."
    )
    calibration: Literal["request", "file", "rings", "unknown"] = Field(
        description="Source of the scale: the request, the file, the rings of a support film in the frame, or "
        "none."
    )
    scale_sigma: float | None = Field(
        default=None,
        description="Assumed relative standard uncertainty of the scale. Null if the scale is unknown.",
    )
    voltage_kv: float = Field(description="Accelerating voltage used, in kV.")
    lattice: PatternLatticeSchema | None = Field(
        default=None,
        description="The pattern's lattice. Null if none was found, and with `effort=search` at a known scale.",
    )
    lattices: list[PatternLatticeSchema] = Field(
        default=[],
        description="All lattices of the pattern: more than one for a stack of twisted layers or several flakes in the "
        "beam. Empty if `lattice` is null.",
    )
    twists: list[TwistSchema] = Field(
        default=[], description="Twist angle of each pair of lattices. Empty unless there are at least two."
    )
    quality: QualitySchema
    options: dict[str, Any] | None = Field(
        default=None, description="The options of the request, which `/replay` reads."
    )
    warnings: list[str] = Field(description="Assumptions made, and how to avoid them.")
