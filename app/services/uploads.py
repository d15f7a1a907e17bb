"""Uploads: parse the body of a request and read the pattern in it."""

import logging
from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
from msgspec import Struct
from pydantic_core import from_json

from app.services.options import ReadingOptions
from model.errors import DomainError, OptionError, TooLargeError, UnreadableError
from model.pattern.detection.spot_finding import find_spots
from model.pattern.frame import Frame
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import make_spots_from_points
from model.pattern.points.point_table import MAX_POINTS, check_bracket_count
from model.pattern.read import read_pattern_and_frame
from model.pattern.spots import Spots, mask_spots

logger = logging.getLogger(__name__)

OptionsT = TypeVar("OptionsT", bound=ReadingOptions)

_MAX_KEYS = 64
_EXPECTED = "send an object with points, [[x, y, intensity], ...], and the options"
_DEFAULT_VOLTAGE_KV = 80.0
MIN_VOLTAGE_KV, MAX_VOLTAGE_KV = 60.0, 300.0
_SCALE_SIGMA_IGNORED = "scale_sigma was ignored because the scale is unknown; give pixel_size too."


class FileUpload(Struct, frozen=True, tag=True):
    """A file of a request; `filename` appears in messages only."""

    data: bytes
    filename: str


class SavedFile(Struct, frozen=True, tag=True):
    """A file of a request, on disk for the duration of the request; `filename` appears in messages only."""

    path: Path
    filename: str


@dataclass(frozen=True)
class FrameUpload:
    """A frame that has already been read: one image of a scan."""

    frame: Frame


@dataclass(frozen=True)
class PointUpload:
    """The points of a JSON request, not yet checked."""

    points: list[Any]


Upload = FileUpload | FrameUpload | PointUpload


@dataclass(frozen=True)
class ParsedRequest(Generic[OptionsT]):
    """A request that was parsed.

    Attributes:
        pattern: the pattern, not read yet.
        options: the options, validated.
        structures: files of structures, where the route takes them.
    """

    pattern: Upload
    options: OptionsT
    structures: tuple[FileUpload, ...] = ()


class JsonBody(Struct, frozen=True, tag=True):
    """A JSON request."""

    data: bytes

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def parse(self, kind: type[OptionsT], *, with_structures: bool = False) -> ParsedRequest[OptionsT]:
        """Parse points and options.

        Args:
            kind: class of the options.
            with_structures: whether the request has structures.

        Raises:
            DomainError: as `parse_json_object`.
            OptionError: points or structures are missing, or an option is not valid.
        """
        content = parse_json_object(self.data, _EXPECTED)
        points = content.pop("points", None)
        structures = _parse_structures(content.pop("structures", None)) if with_structures else ()
        options = kind.from_json(content)
        if not isinstance(points, list):
            wrong = "are missing" if points is None else f"must be a list, not {type(points).__name__}"
            raise OptionError(f"points {wrong}; send [[x, y, intensity], ...].")
        return ParsedRequest(PointUpload(points), options, structures)


def _parse_structures(texts: object) -> tuple[FileUpload, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise OptionError("structures must be a list of strings; send the text of each CIF or POSCAR.")
    return tuple(
        FileUpload(text.encode("utf-8", "replace"), f"structure {number}")
        for number, text in enumerate(texts, start=1)
    )


class FormBody(Struct, frozen=True, tag=True):
    """A multipart form.

    Attributes:
        file: the pattern, or the structure to add.
        fields: the text fields.
        attachments: files that accompany it: structures to compare, or a stored answer.
    """

    file: FileUpload
    fields: tuple[tuple[str, str], ...]
    attachments: tuple[FileUpload, ...] = ()

    @property
    def size(self) -> int:
        """Size of the files in bytes."""
        return sum(len(each.data) for each in (self.file, *self.attachments))

    def parse(self, kind: type[OptionsT], *, with_structures: bool = False) -> ParsedRequest[OptionsT]:
        """Parse the options; see `JsonBody.parse`.

        Raises:
            OptionError: an option is not valid, or the route takes no structures.
        """
        if self.attachments and not with_structures:
            raise OptionError(
                "This endpoint accepts no structures; send only the pattern as `file`, or compare "
                "structures with /compare."
            )
        options = kind.from_text(self.fields)
        return ParsedRequest(self.file, options, self.attachments)


RequestBody = JsonBody | FormBody


@dataclass(frozen=True)
class SavedForm:
    """A form whose files were saved on disk."""

    files: tuple[SavedFile, ...]
    fields: tuple[tuple[str, str], ...]


def parse_json_object(data: bytes, expected: str, max_lists: int = MAX_POINTS) -> dict[str, Any]:
    """Parse the JSON object of a request; one that would need too much memory is refused before it is decoded.

    Args:
        data: the text, with or without a byte order mark.
        expected: what to send, as the end of an error message.
        max_lists: how many lists and objects the text may contain.

    Raises:
        TooLargeError: the text contains more lists and objects.
        UnreadableError: the text is not JSON, or is nested too deeply.
        OptionError: the text is not an object, or has too many keys.
    """
    check_bracket_count(data.count(b"[") + data.count(b"{"), max_lists)
    try:
        content = from_json(data.removeprefix(BOM_UTF8))
    except ValueError as error:
        raise UnreadableError(f"The request is not valid JSON: {error}; {expected}.") from None
    if not isinstance(content, dict):
        raise OptionError(f"The request is not a JSON object; {expected}.")
    if len(content) > _MAX_KEYS:
        raise OptionError(f"The request has {len(content)} keys; {expected}.")
    return content


@dataclass(frozen=True)
class Voltage:
    """The accelerating voltage of a pattern, and warnings about its origin."""

    kv: float
    warnings: tuple[str, ...] = ()


def _choose_voltage(requested_kv: float | None, stated_kv: float | None) -> Voltage:
    """Return the voltage of the request, otherwise that of the file, otherwise 80 kV, within the range of the model."""
    if requested_kv is not None:
        return Voltage(requested_kv)
    if stated_kv is None:
        warning = (
            f"The accelerating voltage is unknown; {_DEFAULT_VOLTAGE_KV:g} kV was assumed. Give voltage_kv."
        )
        return Voltage(_DEFAULT_VOLTAGE_KV, (warning,))
    nearest_kv = min(max(stated_kv, MIN_VOLTAGE_KV), MAX_VOLTAGE_KV)
    if nearest_kv != stated_kv:
        warning = (
            f"The file states {stated_kv:g} kV; {nearest_kv:g} kV, the nearest supported voltage, was used."
        )
        return Voltage(nearest_kv, (warning,))
    return Voltage(stated_kv)


@dataclass(frozen=True)
class PatternReading(Generic[OptionsT]):
    """A pattern that was read.

    Attributes:
        spots: the spots.
        frame: the frame that they were found in; None for points.
        voltage: the accelerating voltage to use.
        options: the options of the request.
        read_ms: how long the reading took.
    """

    spots: Spots
    frame: Frame | None
    voltage: Voltage
    options: OptionsT
    read_ms: float


def read_pattern(
    upload: Upload, options: OptionsT, calibrations: Path | None = None
) -> PatternReading[OptionsT]:
    """Read a pattern according to the options of its request.

    Args:
        upload: the pattern.
        options: how to read it.
        calibrations: folder of the camera calibrations.

    Raises:
        DomainError: the upload cannot be read, or contains no pattern. An unexpected error of a reader, which a
            damaged upload may cause, is an UnreadableError.
    """
    started = perf_counter()
    try:
        spots, frame = _read(upload, options.to_pattern_options(calibrations))
        if options.scale_sigma is not None and not spots.scale_is_known:
            spots = replace(spots, warnings=(*spots.warnings, _SCALE_SIGMA_IGNORED))
        if options.mask:
            spots = mask_spots(spots, np.array(options.mask, dtype=np.float64))
    except DomainError:
        raise
    except MemoryError as error:
        raise TooLargeError("The upload does not fit in memory; send fewer pixels or points.") from error
    except Exception as error:  # no upload may end in a 500
        logger.exception("Unexpected error in a reader of patterns.")
        raise UnreadableError(
            "The upload cannot be read: it is damaged or in an unusual format. Export it again or in another format."
        ) from error
    voltage = _choose_voltage(options.voltage_kv, spots.voltage_kv)
    read_ms = round(1000 * (perf_counter() - started), 3)
    return PatternReading(spots, frame, voltage, options, read_ms)


def _read(upload: Upload, options: PatternOptions) -> tuple[Spots, Frame | None]:
    match upload:
        case FileUpload():
            if not upload.data:
                raise UnreadableError(f"{upload.filename} is empty; send the frame or the table of points.")
            return read_pattern_and_frame(upload.data, upload.filename, options)
        case FrameUpload():
            return find_spots(upload.frame, options), upload.frame
        case PointUpload():
            return make_spots_from_points(upload.points, options), None
