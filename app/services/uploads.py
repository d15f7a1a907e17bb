"""What a request uploads: its body as it came, and the pattern and the options parsed from it."""

from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct
from pydantic_core import from_json

from app.services.option_parsing import RequestOptions
from model.errors import OptionError, UnreadableError
from model.pattern.frame import Frame
from model.pattern.points.point_table import MAX_POINTS, check_bracket_count

OptionsT = TypeVar("OptionsT", bound=RequestOptions)

_MAX_KEYS = 64
_EXPECTED = "send an object with points, [[x, y, intensity], ...], and the options"


class FileUpload(Struct, frozen=True, tag=True):
    """A file of a request; `filename` appears in messages only."""

    data: bytes
    filename: str


class SavedFile(Struct, frozen=True, tag=True):
    """A file of a request, on disk as long as the request lasts; `filename` appears in messages only."""

    path: Path
    filename: str


@dataclass(frozen=True)
class FrameUpload:
    """A frame that has been read already: one image of a scan."""

    frame: Frame


@dataclass(frozen=True)
class PointUpload:
    """The points of a JSON request, not checked yet."""

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
            wrong = "missing" if points is None else f"not a list but {type(points).__name__}"
            raise OptionError(f"points: {wrong}; send [[x, y, intensity], ...].")
        return ParsedRequest(PointUpload(points), options, structures)


def _parse_structures(texts: object) -> tuple[FileUpload, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise OptionError("structures: not a list of texts; send a list of CIF or POSCAR texts.")
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
                "This path takes no structures; send one file, the pattern, or compare structures by /compare."
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
    """Parse the JSON object of a request; one that would take too much memory is refused before it is decoded.

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
