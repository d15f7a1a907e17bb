"""The options of each kind of request, as docs/options.md lists them."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from app.services.option_parsing import AMOUNTS, RequestOptions, comma_list, nested_list
from index.chemistry.composition import SIGMA, Composition
from index.chemistry.elements import ElementFilter
from index.search.query import COVERAGE, Effort
from model.errors import OptionError
from model.pattern.camera import CameraCalibration
from model.pattern.options import SCALE_SIGMA_RANGE, PatternOptions
from model.pattern.scale import Units
from model.pattern.spots import Spots

Finite = Annotated[float, Field(allow_inf_nan=False)]
Position = Annotated[list[Finite], Field(min_length=2, max_length=2)]
Rectangle = Annotated[list[Finite], Field(min_length=4, max_length=4)]
Symbols = Annotated[list[str], Field(max_length=200), comma_list("Mo,S")]

MAX_MEASURED_POSITIONS, MAX_MASKS, MAX_AMOUNTS = 1000, 100, 118
MAX_ID_LENGTH, MAX_LICENSE_LENGTH, MAX_REFERENCE_LENGTH = 200, 200, 2000


def _limit_amounts(amounts: object) -> object:
    """Reject more amounts than there are elements, before each of them is an error of its own."""
    if isinstance(amounts, dict) and len(amounts) > MAX_AMOUNTS:
        raise ValueError(f"give each element once, not {len(amounts)} of them")
    return amounts


class ReadingOptions(RequestOptions):
    """How to read a pattern."""

    units: Units | None = Field(
        None,
        description="Unit of the positions of points. Default: the unit that the file states; otherwise `pixel` if "
        "`pixel_size` or `center` is given; otherwise `1/angstrom`. Positions in a frame are in pixels.",
    )
    pixel_size: Finite | None = Field(
        None,
        ge=1e-6,
        le=1.0,
        description="Pixel size in 1/angstrom per pixel. It takes precedence over the file's. Without either the scale "
        "is unknown, and each candidate states the scale it implies.",
    )
    scale_sigma: Finite | None = Field(
        None,
        ge=SCALE_SIGMA_RANGE[0],
        le=SCALE_SIGMA_RANGE[1],
        description="Standard uncertainty of the scale, as a fraction. Default: 0.004 with gold rings in the frame, "
        "0.005 with a `calibration`, otherwise 0.013. Candidates whose lattice deviates by much more are excluded.",
    )
    calibration: str | None = Field(
        None,
        max_length=64,
        description="Name of a camera calibration made by `dd2d calibrate`. It corrects the distortion and sets the "
        "pixel size, unless `pixel_size` is given. For frames only.",
    )
    center: Annotated[Position | None, comma_list("512,511.5")] = Field(
        None,
        description="Position [x, y] of the direct beam in pixels: x to the right, y down, [0, 0] at the middle of the "
        "first pixel. It may lie outside the frame. Default: found in the pattern.",
    )
    frame: Literal["sum"] | Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Image to read from a file that contains several: its number from 0, or `sum` for "
        "their sum. Default: the first, with a warning.",
    )
    mask: Annotated[
        list[Rectangle], Field(max_length=MAX_MASKS), nested_list(4, "0,500,480,524;600,0,700,90")
    ] = Field(
        [],
        description="Rectangles to ignore, each [x, y, x, y] by two opposite corners, in pixels if positions are in "
        "pixels, otherwise in 1/angstrom. Spots inside are dropped, and no reflection counts as missing there.",
    )
    voltage_kv: Finite | None = Field(
        None,
        ge=60,
        le=300,
        description="Accelerating voltage in kV. Default: the file's, otherwise 80 with a warning.",
    )
    radiation: Literal["electron", "xray"] = Field(
        "electron",
        description="Radiation of the pattern. `xray` is refused while no index for X-rays is loaded.",
    )

    def to_pattern_options(self, calibrations: Path | None = None) -> PatternOptions:
        """Return the options of the pattern readers.

        Args:
            calibrations: folder of the camera calibrations.

        Raises:
            OptionError: there is no calibration of that name.
        """
        camera = None if self.calibration is None else CameraCalibration.load(calibrations, self.calibration)
        center = None if self.center is None else (self.center[0], self.center[1])
        return PatternOptions(self.units, self.pixel_size, center, self.frame, camera, self.scale_sigma)

    def check(self) -> None:
        """Reject X-rays."""
        if self.radiation == "xray":
            raise OptionError("No index for X-rays is loaded; set radiation to electron.")


class LatticeOptions(ReadingOptions):
    """How to read a pattern and its lattice."""

    lattice: Annotated[
        Annotated[list[Position], Field(min_length=2, max_length=2)] | None,
        nested_list(2, "91.2,5.1;41.2,81.5"),
    ] = Field(
        None,
        description="The pattern's lattice: a* and b*, each [x, y] from the direct beam, in pixels if positions are in "
        "pixels, otherwise in 1/angstrom, like `query.lattice.reciprocal`. It is refined with the spots "
        "near its nodes. If any crystals are compatible with it, only those become candidates. Default: found in the "
        "pattern.",
    )

    def to_lattice_basis(self, spots: Spots) -> NDArray[np.float64] | None:
        """Return a* and b* as the rows of a (2, 2) array in 1/angstrom; None if the option is absent."""
        if self.lattice is None:
            return None
        pixel_size = spots.pixel_size_inv_angstrom if spots.center_px is not None else None
        return np.array(self.lattice, dtype=np.float64) * (1.0 if pixel_size is None else pixel_size)


class InspectOptions(LatticeOptions):
    """How to inspect a pattern."""

    measure: Annotated[
        list[Position], Field(max_length=MAX_MEASURED_POSITIONS), nested_list(2, "610.5,498;700,512")
    ] = Field(
        [],
        description="Positions [x, y] in pixels of a frame at which a spot is fitted, whether or not one was found "
        "there. The answer lists them in `measured_spots`.",
    )
    marks: bool = Field(
        True, description="In a picture, draw the spots, the center and the lattice over the frame."
    )


class PredictOptions(LatticeOptions):
    """How to read a pattern and what to search for."""

    elements_all: Symbols = Field([], description="Elements that must all be present.")
    elements_only: Symbols = Field(
        [], description="The only elements that may be present. List hydrogen if it may be there."
    )
    elements_any: Symbols = Field([], description="Elements of which at least one must be present.")
    elements_none: Symbols = Field([], description="Elements that must not be present.")
    composition: Annotated[dict[str, Finite] | None, BeforeValidator(_limit_amounts), AMOUNTS] = Field(
        None,
        description="Measured atomic fractions, or amounts in the same ratio, for example from EDS. Candidates more "
        "than five sigma away are excluded. Elements lighter than boron count only if they are given.",
    )
    composition_sigma: Finite = Field(
        SIGMA, ge=0.001, le=0.5, description="Standard uncertainty of each fraction of `composition`."
    )
    top_k: int = Field(10, ge=1, le=100, description="Maximum number of candidates.")
    effort: Effort = Field(
        "verify",
        description="How candidates are ranked. `search`: by similarity alone. `verify`: the most similar ones are "
        "also compared with the pattern by physics. `full`: hundreds of them are, which can take several seconds.",
    )
    coverage: Finite = Field(
        COVERAGE,
        ge=0.5,
        le=0.99,
        description="Share of cases in which the confidence set must contain the crystal.",
    )
    reflections: bool = Field(False, description="List every compared spot and reflection of each match.")
    record: bool = Field(
        False, description="Include the spots in the answer, so that `/replay` needs nothing else."
    )
    overlay: bool = Field(
        False,
        description="Draw each of the first ten candidates over the frame; `match.overlay` is the path of the picture.",
    )

    def to_element_filter(self) -> ElementFilter | None:
        """Return the condition on the elements, if any; OptionError if a symbol is unknown or it contradicts itself."""
        groups = (self.elements_all, self.elements_only, self.elements_any, self.elements_none)
        return ElementFilter(*map(tuple, groups)) if any(groups) else None

    def to_composition(self) -> Composition | None:
        """Return the measured composition; None if the option is absent.

        Raises:
            OptionError: a symbol is unknown, or an amount is not positive.
        """
        return None if self.composition is None else Composition(self.composition, self.composition_sigma)

    def check(self) -> None:
        """Reject X-rays, contradictory chemistry, and options that would be ignored."""
        super().check()
        elements, composition = self.to_element_filter(), self.to_composition()
        if composition is not None and elements is not None:
            composition.check_against(elements)
        if self.lattice is not None and self.effort == "search":
            raise OptionError("Option lattice has no effect with effort=search; omit one of them.")
        if self.composition is None and "composition_sigma" in self.model_fields_set:
            raise OptionError("Option composition_sigma requires composition; give both.")


def _check_id(id: str) -> str:
    if not id.isprintable() or id != id.strip():
        raise ValueError("use printable characters, without a space at the beginning or the end")
    return id


class UserStructureOptions(RequestOptions):
    """What is stored with a user structure."""

    id: Annotated[str, AfterValidator(_check_id)] | None = Field(
        None,
        min_length=1,
        max_length=MAX_ID_LENGTH,
        description="Id of the structure, of printable characters. Default: derived from the structure.",
    )
    reference: str | None = Field(
        None, max_length=MAX_REFERENCE_LENGTH, description="The publication that describes the structure."
    )
    license: str | None = Field(None, max_length=MAX_LICENSE_LENGTH, description="License of the structure.")


class ReloadOptions(RequestOptions):
    """Which version of the index to serve."""

    version: str | None = Field(
        None,
        max_length=100,
        description="Name of a version in the index folder, which becomes the current one. Default: the current one.",
    )
