"""The body of a request, taken in before anything is decoded, and what it asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePath
from typing import Any, Generic

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.http.body_stream import body_stream
from app.services.json_object import json_object
from app.services.options import Kind, options_from_json, options_from_text
from app.settings import Settings
from app.workers.messages import Job
from model.errors import OptionError, UnknownFormatError, UnreadableError
from model.pattern.frame import Frame

MAXIMUM_FIELDS = 64
MAXIMUM_FIELD_BYTES = 16 * 1024
LONGEST_NAME = 100
_WANTED = "send an object with points, [[x, y, intensity], ...], and the options"


@dataclass(frozen=True)
class FileUpload:
    """A file as it came; `filename` is named in messages only."""

    data: bytes
    filename: str


@dataclass(frozen=True)
class FrameUpload:
    """A frame that has been read already: one image of a scan."""

    frame: Frame


@dataclass(frozen=True)
class PointUpload:
    """Points of a JSON request, not yet looked at."""

    points: list[Any]


Upload = FileUpload | FrameUpload | PointUpload


@dataclass(frozen=True)
class Parsed(Generic[Kind]):
    """What a request asks.

    Attributes:
        pattern: not yet looked at.
        options: checked.
        structures: files of structures, where the route takes them.
    """

    pattern: Upload
    options: Kind
    structures: tuple[FileUpload, ...] = ()


@dataclass(frozen=True)
class JsonBody:
    """A JSON request."""

    data: bytes

    def packed(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """For a worker: JSON and bytes; `unpacked` is the other way."""
        return {}, (self.data,)

    def parsed(self, kind: type[Kind], *, with_structures: bool = False) -> Parsed[Kind]:
        """Points and options.

        Args:
            kind: of the options.
            with_structures: whether structures are to be compared.

        Raises:
            DomainError: see `json_object`.
            OptionError: no points, no structures, or an option that cannot be used.
        """
        content = json_object(self.data, _WANTED)
        points = content.pop("points", None)
        structures = _structures(content.pop("structures", None)) if with_structures else ()
        options = options_from_json(kind, content)
        if not isinstance(points, list):
            wrong = "missing" if points is None else f"not a list but {type(points).__name__}"
            raise OptionError(f"points: {wrong}; send [[x, y, intensity], ...]")
        return Parsed(PointUpload(points), options, structures)


def _structures(listed: object) -> tuple[FileUpload, ...]:
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise OptionError("structures: send a list of texts, each a CIF or a POSCAR")
    return tuple(
        FileUpload(text.encode("utf-8", "replace"), f"structure {row}")
        for row, text in enumerate(listed, start=1)
    )


@dataclass(frozen=True)
class FormBody:
    """A form.

    Attributes:
        file: the pattern, or the structure that is to be added.
        fields: what is no file.
        attached: files that came beside it: structures to compare, or a stored answer.
    """

    file: FileUpload
    fields: tuple[tuple[str, str], ...]
    attached: tuple[FileUpload, ...] = ()

    def packed(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """For a worker: JSON and bytes; `unpacked` is the other way."""
        files = (self.file, *self.attached)
        told = {"names": [each.filename for each in files], "fields": self.fields}
        return told, tuple(each.data for each in files)

    def parsed(self, kind: type[Kind], *, with_structures: bool = False) -> Parsed[Kind]:
        """File and options; see `JsonBody.parsed`.

        Raises:
            OptionError: an option that cannot be used, or structures where none are taken.
            UnreadableError: an empty file.
        """
        if self.attached and not with_structures:
            raise OptionError("structures are compared by /compare; send one file, the pattern")
        options = options_from_text(kind, self.fields)
        if not self.file.data:
            raise UnreadableError(f"{self.file.filename} is empty; send the frame or the table of points")
        return Parsed(self.file, options, self.attached)


def unpacked(told: Mapping[str, Any], blobs: Sequence[bytes]) -> JsonBody | FormBody:
    """A body that was packed for a worker."""
    if "names" not in told:
        return JsonBody(blobs[0])
    file, *attached = (FileUpload(data, name) for data, name in zip(blobs, told["names"], strict=True))
    return FormBody(file, tuple((name, value) for name, value in told["fields"]), tuple(attached))


def upload_job(kind: str, body: JsonBody | FormBody, media_type: str, request_id: str) -> Job:
    """The job of a request that came with a body.

    Args:
        kind: which of the desk's works.
        body: as it was read.
        media_type: of the answer.
        request_id: of the answer.
    """
    told, blobs = body.packed()
    return Job(kind, {"body": told, "media_type": media_type, "request_id": request_id}, blobs)


class _InMemoryParser(MultiPartParser):
    """The body is limited and read as a whole anyway, so nothing is gained by spooling it to a disk."""

    spool_max_size = 2**40


async def read_body(
    request: Request, settings: Settings, attached: str = "", most_attached: int = 0
) -> JsonBody | FormBody:
    """Take in a request's body.

    Args:
        request: whose body has not been read.
        settings: with the limits.
        attached: field of the files that may come beside the one in `file`.
        most_attached: how many of these.

    Raises:
        UnknownFormatError: neither JSON nor a form.
        TooLargeError: longer than the settings allow.
        StalledError: slower than they allow.
        UnreadableError: a damaged form.
        OptionError: a form without the one file.
    """
    kind = media_type_of(request.headers)
    if kind == "application/json" or kind.endswith("+json"):
        stream = body_stream(request, settings, "max_json_bytes")
        return JsonBody(b"".join([chunk async for chunk in stream]))
    if kind == "multipart/form-data":
        return await _read_form(request, settings, attached, 1 + most_attached)
    raise UnknownFormatError(
        f"the request is {kind or 'of no stated type'}; send a file as multipart/form-data in the field `file`, "
        "or points as application/json"
    )


def media_type_of(headers: Mapping[str, str]) -> str:
    """Of the body, without parameters; empty where none is stated."""
    message = Message()
    message["Content-Type"] = headers.get("content-type", "")
    return message.get_content_type() if headers.get("content-type") else ""


async def _read_form(request: Request, settings: Settings, attached: str, most_files: int) -> FormBody:
    stream = body_stream(request, settings, "max_upload_bytes")
    parser = _InMemoryParser(
        request.headers,
        stream,
        max_files=most_files,
        max_fields=MAXIMUM_FIELDS,
        max_part_size=MAXIMUM_FIELD_BYTES,
    )
    form = await parsed_form(parser)
    try:
        return await _form_body(form, attached)
    finally:
        await form.close()


async def parsed_form(parser: MultiPartParser) -> FormData:
    """The form that a parser is given.

    Raises:
        UnreadableError: a damaged one.
    """
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise UnreadableError(
            f"the form cannot be read: {error.message}; send one file and the options"
        ) from None


async def _form_body(form: FormData, field: str) -> FormBody:
    files = files_of(form, "file", *([field] if field else []))
    if len(files["file"]) != 1:
        raise OptionError(f"{len(files['file'])} files came in the field `file`; send one there")
    attached = [await _taken(each) for each in files.get(field, [])]
    return FormBody(await _taken(files["file"][0]), fields_of(form), tuple(attached))


def files_of(form: FormData, *fields: str) -> dict[str, list[UploadFile]]:
    """The files of a form by their field.

    Args:
        form: as it was parsed.
        fields: in which files may come.

    Raises:
        OptionError: one came in another field, where nobody would look for it.
    """
    files: dict[str, list[UploadFile]] = {field: [] for field in fields}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in files:
                told = " or ".join(f"`{field}`" for field in fields)
                raise OptionError(f"a file came in the field {name!r:.60}; send files in the field {told}")
            files[name].append(value)
    return files


def fields_of(form: FormData) -> tuple[tuple[str, str], ...]:
    """Those that are no files, as often as each comes."""
    return tuple((key, value) for key, value in form.multi_items() if isinstance(value, str))


async def _taken(file: UploadFile) -> FileUpload:
    return FileUpload(await file.read(), name_of(file))


def name_of(file: UploadFile) -> str:
    """What the client calls a file, without folders; for messages only."""
    return PurePath(file.filename or "the upload").name[:LONGEST_NAME] or "the upload"
