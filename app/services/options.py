"""The options of a request, the same for JSON, form and command line."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from index.chemistry.composition import SIGMA, Composition
from index.chemistry.elements import ElementFilter
from index.search.query import COVERAGE, Effort
from model.errors import OptionError
from model.pattern.camera import CameraCalibration
from model.pattern.options import PatternOptions, Units
from model.pattern.spots import Spots

Symbols = Annotated[list[str], Field(max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Position = Annotated[list[Finite], Field(min_length=2, max_length=2)]
Box = Annotated[list[Finite], Field(min_length=4, max_length=4)]

MOST_MEASURED, MOST_MASKS = 1000, 100
_MOST_TOLD = 5


class ReadingOptions(BaseModel):
    """How to read a pattern."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    units: Units | None = Field(
        None,
        description="Of the points' positions; 1/angstrom if neither request nor file says. Frames are in pixels.",
    )
    pixel_size: Finite | None = Field(
        None, ge=1e-6, le=1.0, description="1/angstrom per pixel; overrides what the file says."
    )
    scale_sigma: Finite | None = Field(
        None,
        description="rms error of the scale, as a fraction, 0.0005 to 0.03. If absent 0.013, with a `calibration` "
        "0.005, by rings of gold beside the spots 0.004. Verification leaves out crystals whose lattice is off by much "
        "more.",
    )
    calibration: str | None = Field(
        None,
        max_length=64,
        description="Name of a camera calibration that `dd2d calibrate` made: its size of a pixel, and its distortion "
        "taken out. For frames; `pixel_size` stands before it.",
    )
    center: Position | None = Field(
        None, description="The direct beam, [x, y] in pixels, x right and y down; found if absent."
    )
    frame: Literal["sum"] | Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Which image of a file with several, from 0, or `sum` for all of them; the first if absent.",
    )
    mask: Annotated[list[Box], Field(max_length=MOST_MASKS)] = Field(
        [],
        description="Boxes [x, y, x, y] that do not count, by two corners, in pixels for positions in pixels, else "
        "1/angstrom: spots there are left out, and no beam is missed there.",
    )
    voltage_kv: Finite | None = Field(
        None, ge=60, le=300, description="Accelerating voltage; the file's if absent, else 80 with a warning."
    )
    radiation: Literal["electron", "xray"] = Field("electron", description="Only electrons in this build.")

    @property
    def center_px(self) -> tuple[float, float] | None:
        """The direct beam that was given."""
        return None if self.center is None else (self.center[0], self.center[1])

    def pattern(self, calibrations: Path | None = None) -> PatternOptions:
        """What concerns the reading of the pattern.

        Args:
            calibrations: folder of the cameras' calibrations.

        Raises:
            OptionError: no calibration of the name asked for.
        """
        camera = None if self.calibration is None else CameraCalibration.load(calibrations, self.calibration)
        return PatternOptions(
            self.units, self.pixel_size, self.center_px, self.frame, camera, self.scale_sigma
        )

    def check(self) -> None:
        """Refuse what no single value tells.

        Raises:
            OptionError: what this build cannot do, or options that contradict each other.
        """
        if self.radiation == "xray":
            raise OptionError("radiation: no index for X-rays is loaded; only electron can be searched")
        PatternOptions(self.units, self.pixel_size, self.center_px, self.frame, scale_sigma=self.scale_sigma)


class LatticeOptions(ReadingOptions):
    """How to read a pattern, and its lattice where it is not to be found."""

    lattice: Annotated[list[Position], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="a* and b*, picked by hand: [[x, y], [x, y]] from the direct beam, in pixels for positions in "
        "pixels, else 1/angstrom, as `query.lattice.reciprocal` of an answer. They are made exact by the spots, and "
        "only crystals that can have this lattice are candidates, if there are any. Found if absent.",
    )

    def picked_basis(self, spots: Spots) -> NDArray[np.float64] | None:
        """(2, 2) rows a* and b*, 1/angstrom; None where they were not picked."""
        if self.lattice is None:
            return None
        size = spots.pixel_size_inv_angstrom if spots.center_px is not None else None
        return np.array(self.lattice, dtype=np.float64) * (1.0 if size is None else size)


class InspectOptions(LatticeOptions):
    """How to look at a pattern."""

    measure: Annotated[list[Position], Field(max_length=MOST_MEASURED)] = Field(
        [],
        description="Places [x, y] in pixels of a frame that are measured as spots are, whether or not anything stands "
        "out there; answered as `measured_spots`.",
    )
    marks: bool = Field(
        True, description="Whether spots, centre and lattice are drawn over the frame, in a picture of it."
    )


class Options(LatticeOptions):
    """How to read a pattern and what to search for."""

    elements_all: Symbols = Field([], description="Each of these elements is present.")
    elements_only: Symbols = Field([], description="No other element than these is present.")
    elements_any: Symbols = Field([], description="At least one of these elements is present.")
    elements_none: Symbols = Field([], description="None of these elements is present.")
    composition: dict[str, Finite] | None = Field(
        None,
        description="Measured atomic fractions, of EDS for instance, or amounts in the same ratio. Elements lighter "
        "than boron count only where they are given.",
    )
    composition_sigma: Finite = Field(
        SIGMA, ge=0.001, le=0.5, description="rms error of a fraction of `composition`."
    )
    top_k: int = Field(10, ge=1, le=100, description="How many candidates are wanted.")
    effort: Effort = Field(
        "verify",
        description="`search`: ranked by the towers alone. `verify`: their first candidates are held against the "
        "pattern. `full`: hundreds of them are, which takes up to seconds.",
    )
    coverage: Finite = Field(
        COVERAGE,
        ge=0.5,
        le=0.99,
        description="In which share of cases the set of candidates has to hold the crystal.",
    )
    reflections: bool = Field(
        False, description="Whether each match lists every compared spot and reflection."
    )
    record: bool = Field(
        False, description="Whether the answer carries its spots, so that `/replay` needs nothing else."
    )
    overlay: bool = Field(
        False,
        description="Whether the first ten candidates are drawn over a frame, at the path `match.overlay`.",
    )

    def elements(self) -> ElementFilter:
        """What concerns the elements.

        Raises:
            OptionError: unknown symbols, or conditions that contradict each other.
        """
        return ElementFilter(
            all=tuple(self.elements_all),
            only=tuple(self.elements_only),
            any=tuple(self.elements_any),
            none=tuple(self.elements_none),
        )

    def measured_composition(self) -> Composition | None:
        """What concerns the amounts of the elements.

        Raises:
            OptionError: unknown symbols, or amounts that are none.
        """
        return None if self.composition is None else Composition(self.composition, self.composition_sigma)

    def check(self) -> None:
        """Refuse what no single value tells.

        Raises:
            OptionError: what this build cannot do, or options that contradict each other.
        """
        super().check()
        elements, composition = self.elements(), self.measured_composition()
        if composition is not None:
            composition.check_against(elements)
        if self.lattice is not None and self.effort == "search":
            raise OptionError("lattice goes unheard with effort=search; leave one of them out")
        if self.composition is None and "composition_sigma" in self.model_fields_set:
            raise OptionError("composition_sigma is the error of a composition; give composition too")


NAMES = tuple(Options.model_fields)
LISTS = frozenset(name for name in NAMES if name.startswith("elements_")) | {"center"}
# Lists of so many numbers each: in a form `x,y;x,y`, or without semicolons, which curl takes for its own.
NESTED = {"lattice": 2, "measure": 2, "mask": 4}


Kind = TypeVar("Kind", bound=ReadingOptions)
Model = TypeVar("Model", bound=BaseModel)


def options_from_json(kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    """From the keys of a JSON request; null stands for an absent option.

    Raises:
        OptionError: unknown keys, wrong types and impossible values, all of them named.
    """
    return _checked(kind, {name: value for name, value in values.items() if value is not None}, strict=True)


def options_from_text(kind: type[Kind], fields: Iterable[tuple[str, str]]) -> Kind:
    """From form fields or command-line words; lists are separated by commas, positions by semicolons, an empty text
    gives nothing.

    Raises:
        OptionError: as `options_from_json`, and for an option that is given twice.
    """
    values: dict[str, Any] = {}
    for name, text in fields:
        if not text.strip():
            continue
        if name in NESTED.keys() & kind.model_fields.keys():
            values.setdefault(name, []).extend(_nested(text, NESTED[name]))
        elif name == "composition":
            values[name] = _amounts(text)
        elif name in LISTS:
            values.setdefault(name, []).extend(part.strip() for part in text.split(",") if part.strip())
        elif name in values:
            raise OptionError(f"{name} is given more than once; give it once")
        else:
            values[name] = text.strip()
    return _checked(kind, values, strict=False)


def _nested(text: str, each: int) -> list[list[str]]:
    """From "x,y;x,y", or "x,y,x,y"."""
    groups = [[part.strip() for part in group.split(",")] for group in text.split(";") if group.strip()]
    if len(groups) == 1 and len(groups[0]) % each == 0:
        (flat,) = groups
        return [flat[place : place + each] for place in range(0, len(flat), each)]
    return groups


def _amounts(text: str) -> dict[str, str]:
    """From "Mo:0.33,S:0.67"."""
    amounts: dict[str, str] = {}
    for part in text.split(","):
        symbol, colon, amount = (piece.strip() for piece in part.partition(":"))
        if not colon or symbol in amounts:
            raise OptionError(
                f"composition: {part.strip()[:40]!r} cannot be used; write Mo:0.33,S:0.67, each once"
            )
        amounts[symbol] = amount
    return amounts


def refuse_query(parameters: Mapping[str, str]) -> None:
    """Options in the address would go unheard.

    Raises:
        OptionError: there are some.
    """
    if parameters:
        names = ", ".join(repr(name[:60]) for name in list(parameters)[:5])
        raise OptionError(f"options stand in the address ({names}); give them as form fields or JSON keys")


def validated(kind: type[Model], values: Mapping[str, Any], *, strict: bool) -> Model:
    """Options of any kind, checked by their types.

    Raises:
        OptionError: unknown options, wrong types and impossible values, all of them named.
    """
    try:
        return kind.model_validate(values, strict=strict)
    except ValidationError as error:
        raise OptionError(_told(error.errors(include_url=False), tuple(kind.model_fields))) from None


def _checked(kind: type[Kind], values: dict[str, Any], *, strict: bool) -> Kind:
    options = validated(kind, values, strict=strict)
    options.check()
    return options


def _told(errors: list[ErrorDetails], names: tuple[str, ...]) -> str:
    unknown = [repr(str(each["loc"][0])[:60]) for each in errors if each["type"] == "extra_forbidden"]
    told = [_wrong_value(each) for each in errors if each["type"] != "extra_forbidden"][:_MOST_TOLD]
    if unknown:
        told.append(f"unknown option {', '.join(unknown[:_MOST_TOLD])}; the options are {', '.join(names)}")
    return "; ".join(told)


def _wrong_value(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"])
    told = f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}"
    return told if " not " in told else f"{told}, not {_shortened(error['input'])}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
