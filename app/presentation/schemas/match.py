"""The match between a structure's computed diffraction pattern and the measured one."""

from typing import Literal

from pydantic import Field

from app.presentation.schemas.schema import Schema


class ComparedReflection(Schema):
    """A measured spot, a computed reflection, or both where they coincide."""

    h: int = Field(
        description="Miller index h in the cell of the CIF; for an extra spot, that of the nearest reflection."
    )
    k: int = Field(description="Miller index k, defined like `h`.")
    status: Literal["explained", "extra", "missing"] = Field(
        description="`explained`: the spot and the reflection coincide. `extra`: a spot without a reflection. "
        "`missing`: an expected reflection without a spot."
    )
    d_observed: float | None = Field(
        description="Observed lattice spacing in angstrom. If the pattern's scale is unknown, the scale implied by the "
        "structure is used. Null if there is no spot."
    )
    d_calculated: float | None = Field(
        description="Lattice spacing in angstrom, computed from the cell of the CIF. Null for an extra spot."
    )
    position_observed: list[float] | None = Field(
        description="Position of the spot, [x, y], in pixels on the camera, otherwise in 1/angstrom. Null where there "
        "is no spot."
    )
    position_calculated: list[float] | None = Field(
        description="Position of the reflection at the fitted orientation, in the same unit. Null for an extra spot."
    )
    intensity_observed: float | None = Field(
        description="Intensity of the spot relative to the strongest spot. Null without intensities and where there is "
        "no spot."
    )
    intensity_calculated: float | None = Field(
        description="Computed intensity on the same scale. Null for an extra spot."
    )
    intensity_sigma: float | None = Field(
        description="Expected rms difference between observed and computed intensity, from counting statistics, the "
        "scattering model and the noise found in the pattern."
    )


class MatchSchema(Schema):
    """The orientation, refined parameters and quality of fit of a structure. Null means not fitted."""

    rotation_deg: float = Field(
        description="In-plane rotation of the pattern on the camera, applied after mirroring, in degrees."
    )
    rotation_sigma_deg: float = Field(
        description="Standard uncertainty of `rotation_deg`, as for every key with `sigma` in its name."
    )
    mirrored: bool = Field(description="Whether the camera shows a mirror image of the crystal's pattern.")
    face_down: bool = Field(
        description="Whether the beam enters through the lower face of the layer in the CIF. False if both faces are "
        "equivalent."
    )
    tilt_deg: float = Field(description="Angle between the beam and the layer normal, in degrees.")
    tilt_sigma_deg: float | None = Field(description="Standard uncertainty of `tilt_deg`.")
    tilt_azimuth_deg: float = Field(
        description="Direction of the tilt in the plane of the layer, from a toward b, in degrees."
    )
    tilt_azimuth_sigma_deg: float | None = Field(description="Standard uncertainty of `tilt_azimuth_deg`.")
    scale: float | None = Field(
        description="Ratio of measured to computed scattering vectors. Null if the pattern's scale is unknown."
    )
    scale_sigma: float | None = Field(description="Standard uncertainty of `scale`.")
    pixel_size: float | None = Field(
        description="Pixel size implied by this structure, in 1/angstrom per pixel. Null for positions in 1/angstrom."
    )
    distortion: float = Field(
        description="Elliptical distortion: the ratio of the axes of the image of a circle, minus 1."
    )
    distortion_sigma: float = Field(description="Standard uncertainty of `distortion`.")
    b_factor: float | None = Field(
        description="Overall Debye-Waller factor B in angstrom^2, including the decay of the camera's response."
    )
    b_factor_sigma: float | None = Field(description="Standard uncertainty of `b_factor`.")
    explained: float = Field(
        description="Fraction of the measured intensity, or of the spots if there are no intensities, that lies on the "
        "structure's reciprocal lattice."
    )
    missing: float = Field(description="Fraction of the expected reflections that have no spot.")
    extra: float = Field(description="Fraction of the spots that have no reflection.")
    r_factor: float | None = Field(
        description="Sum of |sqrt(I) - sqrt(I_calc)| divided by the sum of sqrt(I), over the spots with a reflection. "
        "Null without intensities."
    )
    refined: bool = Field(
        default=True,
        description="True after a refinement that includes atomic displacements and the noise of the pattern. False "
        "for a rough fit with the atoms of the library, used for implausible candidates.",
    )
    reflections: list[ComparedReflection] | None = Field(
        description="Every compared spot and reflection, strongest spots first, then the missing reflections. Null "
        "unless the request sets `reflections=true`."
    )
    overlay: str | None = Field(
        default=None,
        description="Path of an image of the frame with this candidate's reflections drawn on it, available for a "
        "limited time. Null unless the request sets `overlay=true`.",
    )
