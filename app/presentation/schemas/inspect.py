"""The answer to `POST /inspect`."""

from pydantic import Field

from app.presentation.schemas.query import QuerySchema
from app.presentation.schemas.schema import Schema


class SpotSchema(Schema):
    """A measured spot."""

    position: list[float] = Field(
        description="[x, y] in pixels, or in 1/angstrom for positions in 1/angstrom or 1/nm."
    )
    position_sigma: float | None = Field(
        description="Standard uncertainty of each coordinate in pixels. Null for points."
    )
    d: float | None = Field(description="Lattice spacing in angstrom. Null if the scale is unknown.")
    intensity: float | None = Field(description="Integrated intensity above the background. Null if unknown.")
    intensity_sigma: float | None = Field(description="Standard uncertainty of `intensity`. Null for points.")
    saturated: bool | None = Field(
        description="Whether pixels are saturated, so that the intensity is estimated from the unsaturated ones. Null "
        "for points."
    )
    hk: list[int] | None = Field(
        description="Indices [h, k] in the pattern's lattice. Null if the spot does not lie on it."
    )


class FrameSchema(Schema):
    """The camera frame that was read."""

    width: int = Field(description="Width in pixels.")
    height: int = Field(description="Height in pixels.")
    format: str = Field(description="File format.")


class Inspection(Schema):
    """The pattern as the service interpreted it, without a search."""

    request_id: str
    frame: FrameSchema | None = Field(description="Null for points.")
    spots: list[SpotSchema] = Field(description="The measured spots, strongest first.")
    measured_spots: list[SpotSchema] = Field(
        default=[],
        description="The spots at the positions requested by `measure`, in the same order. The intensity is null where "
        "no peak exceeds the background by two standard uncertainties.",
    )
    query: QuerySchema
    version: str = Field(description="Version of the software.")
    timing_ms: dict[str, float] = Field(description="Duration of each stage, in milliseconds.")
