"""Read the body of a request, within limits on its size and its speed."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from email.message import Message
from pathlib import PurePath
from typing import Literal

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.errors import OverloadedError, RequestTimeoutError
from app.http.body_budget import ArrivingBody, BodyBudget
from app.services.uploads import FileUpload, FormBody, JsonBody
from app.settings import Settings
from model.errors import OptionError, TooLargeError, UnknownFormatError, UnreadableError

# This much must arrive within `stall_s`, so that a byte now and then does not keep a request open.
MIN_PROGRESS_BYTES = 64 * 1024
MAX_FIELDS = 64
MAX_FIELD_BYTES = 16 * 1024
_MAX_FILENAME_CHARACTERS = 100

SizeLimit = Literal["max_upload_bytes", "max_json_bytes", "max_batch_bytes"]


async def stream_body(
    request: Request, settings: Settings, limit: SizeLimit, arriving: ArrivingBody
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body that has not been read yet.

    Args:
        request: the request.
        settings: the settings with the limits.
        limit: name of the setting that limits the size of the whole body.
        arriving: counts the bytes; if it is revoked, the body is not read further.

    Raises:
        TooLargeError: the body is, or is announced to be, larger than the limit.
        RequestTimeoutError: too little arrived in time, excluding the time that the consumer takes.
        OverloadedError: the bodies that are arriving are too large together.
        ClientDisconnect: the client has disconnected.
    """
    max_bytes = getattr(settings, limit)
    too_large = TooLargeError(
        f"The request is larger than {max_bytes} bytes, the limit set by DD2D_{limit.upper()}."
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    received = progress = 0
    remaining_s, total_s = settings.stall_s, settings.body_s
    chunks, clock = request.stream(), asyncio.get_running_loop().time
    while not arriving.is_revoked:
        started = clock()
        try:
            async with asyncio.timeout(min(remaining_s, total_s)) as timer:
                with arriving.wait_with(timer):
                    chunk = await anext(chunks, None)
        except TimeoutError:
            if arriving.is_revoked:
                break
            raise _too_slow(settings, is_total=total_s <= remaining_s) from None
        if chunk is None:
            return
        received, progress = received + len(chunk), progress + len(chunk)
        remaining_s, total_s = remaining_s - (clock() - started), total_s - (clock() - started)
        if received > max_bytes:
            raise too_large
        if progress >= MIN_PROGRESS_BYTES:
            progress, remaining_s = 0, settings.stall_s
            arriving.note_progress()
        arriving.add(len(chunk))
        yield chunk
    raise OverloadedError(
        "Too many uploads are arriving at once, and this one kept the service waiting for the longest time; retry."
    )


def _too_slow(settings: Settings, *, is_total: bool) -> RequestTimeoutError:
    problem = (
        f"The request did not arrive in {settings.body_s:g} seconds"
        if is_total
        else f"Less than {MIN_PROGRESS_BYTES} bytes of the request arrived in {settings.stall_s:g} seconds"
    )
    return RequestTimeoutError(f"{problem}; send it again over a faster connection, or in smaller parts.")


class _InMemoryParser(MultiPartParser):
    """A parser that keeps files in memory: the whole body is limited and needed there, so no temporary file helps."""

    spool_max_size = 2**40


async def read_body(
    request: Request,
    settings: Settings,
    budget: BodyBudget,
    attachment_field: str = "",
    max_attachments: int = 0,
) -> JsonBody | FormBody:
    """Read a JSON body, or a form with one file. Only the form's framing is parsed here.

    Args:
        request: a request whose body has not been read.
        settings: the settings with the limits.
        budget: limits the bytes of all bodies that are arriving.
        attachment_field: form field of the files that may accompany the one in `file`.
        max_attachments: how many of them are allowed.

    Raises:
        UnknownFormatError: the body is neither JSON nor a form.
        TooLargeError: the body is larger than the settings allow.
        RequestTimeoutError: the body arrives more slowly than the settings allow.
        OverloadedError: the bodies that are arriving are too large together.
        UnreadableError: the form is damaged.
        OptionError: the form does not have exactly one file in `file`.
    """
    media_type = get_media_type(request.headers)
    if media_type == "application/json" or media_type.endswith("+json"):
        with budget.arriving() as arriving:
            stream = stream_body(request, settings, "max_json_bytes", arriving)
            return JsonBody(b"".join([chunk async for chunk in stream]))
    if media_type != "multipart/form-data":
        raise UnknownFormatError(
            f"The content type is {media_type or 'missing'}; send a file as multipart/form-data in the field `file`, "
            "or points as application/json."
        )
    with budget.arriving() as arriving:
        form = await parse_form(
            _InMemoryParser(
                request.headers,
                stream_body(request, settings, "max_upload_bytes", arriving),
                max_files=1 + max_attachments,
                max_fields=MAX_FIELDS,
                max_part_size=MAX_FIELD_BYTES,
            )
        )
    try:
        files = files_by_field(form, "file", *([attachment_field] if attachment_field else []))
        if len(files["file"]) != 1:
            raise OptionError(f"The field `file` has {len(files['file'])} files; send one.")
        attachments = [await _read_file(each) for each in files.get(attachment_field, [])]
        return FormBody(await _read_file(files["file"][0]), text_fields(form), tuple(attachments))
    finally:
        await form.close()


def get_media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body without its parameters; empty if the header is missing."""
    message = Message()
    message["Content-Type"] = headers.get("content-type", "")
    return message.get_content_type() if headers.get("content-type") else ""


async def parse_form(parser: MultiPartParser) -> FormData:
    """Read a form.

    Raises:
        UnreadableError: the form is damaged.
    """
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise UnreadableError(
            f"The form cannot be read: {error.message}; send one file and the options."
        ) from None


def files_by_field(form: FormData, *fields: str) -> dict[str, list[UploadFile]]:
    """Group the files of a form by field; a file in any other field is an error, since nothing would read it."""
    files: dict[str, list[UploadFile]] = {field: [] for field in fields}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in files:
                allowed = " or ".join(f"`{field}`" for field in fields)
                raise OptionError(
                    f"The field {name!r:.60} does not accept files; send files in the field {allowed}."
                )
            files[name].append(value)
    return files


def text_fields(form: FormData) -> tuple[tuple[str, str], ...]:
    """Return the text fields of a form, with every repetition."""
    return tuple((key, value) for key, value in form.multi_items() if isinstance(value, str))


async def _read_file(file: UploadFile) -> FileUpload:
    return FileUpload(await file.read(), filename(file))


def filename(file: UploadFile) -> str:
    """Return the client's name for a file without folders; it appears in messages only."""
    return PurePath(file.filename or "the upload").name[:_MAX_FILENAME_CHARACTERS] or "the upload"
