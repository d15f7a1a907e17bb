"""Read the body of a request, within limits on its size and its speed."""

import asyncio
import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from email.message import Message
from pathlib import Path, PurePath
from typing import Literal

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.errors import RequestTimeoutError
from app.http.batch_folder import make_batch_folder
from app.services.uploads import FileUpload, FormBody, JsonBody, SavedFile, SavedForm
from app.settings import Settings
from model.errors import OptionError, StorageFullError, TooLargeError, UnknownFormatError, UnreadableError

logger = logging.getLogger(__name__)

MAX_BATCH_FILES = 1000
# This much must arrive within `stall_s`, so that a byte now and then does not keep a request open.
MIN_PROGRESS_BYTES = 64 * 1024
_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 16 * 1024
_MAX_FILENAME_CHARACTERS = 100

SizeLimit = Literal["max_upload_bytes", "max_json_bytes", "max_batch_bytes"]


async def stream_body(request: Request, settings: Settings, limit: SizeLimit) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body that has not been read yet.

    Args:
        request: the request.
        settings: the settings with the limits.
        limit: name of the setting that limits the size of the whole body.

    Raises:
        TooLargeError: the body is, or is announced to be, larger than the limit.
        RequestTimeoutError: too little arrived in time, excluding the time that the consumer takes.
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
    remaining_s = settings.stall_s
    chunks, clock = request.stream(), asyncio.get_running_loop().time
    while True:
        started = clock()
        try:
            async with asyncio.timeout(remaining_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise RequestTimeoutError(
                f"Less than {MIN_PROGRESS_BYTES} bytes of the request arrived in {settings.stall_s:g} seconds; send it "
                "again over a faster connection, or in smaller parts."
            ) from None
        if chunk is None:
            return
        received, progress = received + len(chunk), progress + len(chunk)
        remaining_s -= clock() - started
        if received > max_bytes:
            raise too_large
        if progress >= MIN_PROGRESS_BYTES:
            progress, remaining_s = 0, settings.stall_s
        yield chunk


class _InMemoryParser(MultiPartParser):
    """A parser that keeps files in memory: the whole body is limited and needed there, so no temporary file helps."""

    spool_max_size = 2**40


async def read_body(
    request: Request, settings: Settings, attachment_field: str = "", max_attachments: int = 0
) -> JsonBody | FormBody:
    """Read a JSON body, or a form with one file. Only the form's framing is parsed here.

    Args:
        request: a request whose body has not been read.
        settings: the settings with the limits.
        attachment_field: form field of the files that may accompany the one in `file`.
        max_attachments: how many of them are allowed.

    Raises:
        UnknownFormatError: the body is neither JSON nor a form.
        TooLargeError: the body is larger than the settings allow.
        RequestTimeoutError: the body arrives more slowly than the settings allow.
        UnreadableError: the form is damaged.
        OptionError: the form does not have exactly one file in `file`.
    """
    media_type = get_media_type(request.headers)
    if media_type == "application/json" or media_type.endswith("+json"):
        stream = stream_body(request, settings, "max_json_bytes")
        return JsonBody(b"".join([chunk async for chunk in stream]))
    if media_type != "multipart/form-data":
        raise UnknownFormatError(
            f"The content type is {media_type or 'missing'}; send a file as multipart/form-data in the field `file`, "
            "or points as application/json."
        )
    form = await _parse_form(
        _InMemoryParser(
            request.headers,
            stream_body(request, settings, "max_upload_bytes"),
            max_files=1 + max_attachments,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_FIELD_BYTES,
        )
    )
    try:
        files = _files_by_field(form, "file", *([attachment_field] if attachment_field else []))
        if len(files["file"]) != 1:
            raise OptionError(f"The field `file` has {len(files['file'])} files; send one.")
        attachments = [await _read_file(each) for each in files.get(attachment_field, [])]
        return FormBody(await _read_file(files["file"][0]), _text_fields(form), tuple(attachments))
    finally:
        await form.close()


@asynccontextmanager
async def save_files(request: Request, settings: Settings) -> AsyncIterator[SavedForm]:
    """Save the files of a form on disk, where workers can read them, for the duration of the block.

    Args:
        request: a request whose body has not been read, with one or more files in the field `file`.
        settings: the settings with the limits.

    Raises:
        UnknownFormatError: the body is not a form.
        TooLargeError: the body is larger than the settings allow.
        RequestTimeoutError: the body arrives more slowly than the settings allow.
        UnreadableError: the form is damaged.
        OptionError: the form has no file, or one in another field.
        StorageFullError: the files cannot be written.
    """
    media_type = get_media_type(request.headers)
    if media_type != "multipart/form-data":
        raise UnknownFormatError(
            f"The content type is {media_type or 'missing'}; send files as multipart/form-data in the field `file`."
        )
    parser = MultiPartParser(
        request.headers,
        stream_body(request, settings, "max_batch_bytes"),
        max_files=MAX_BATCH_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    with ExitStack() as stack:
        with _translate_storage_errors():
            folder = stack.enter_context(make_batch_folder())
            form = await _parse_form(parser)
            try:
                saved = await asyncio.to_thread(_save_form, form, folder)
            finally:
                await form.close()
        yield saved


@contextmanager
def _translate_storage_errors() -> Iterator[None]:
    """Raise an error of the operating system while files are written as a domain error."""
    try:
        yield
    except OSError as error:
        logger.error("The files of a batch could not be written: %s", error)
        raise StorageFullError(
            "The service cannot store the files at the moment because its disk for temporary files is full; retry "
            "later, or send fewer or smaller files."
        ) from error


def _save_form(form: FormData, folder: Path) -> SavedForm:
    files = []
    for number, upload in enumerate(_files_by_field(form, "file")["file"]):
        path = folder / str(number)
        with path.open("wb") as target:
            shutil.copyfileobj(upload.file, target)
        upload.file.close()  # the parser's own copy
        files.append(SavedFile(path, _filename(upload)))
    if not files:
        raise OptionError("The request has no file; send each pattern as a file in the field `file`.")
    return SavedForm(tuple(files), _text_fields(form))


def get_media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body without its parameters; empty if the header is missing."""
    message = Message()
    message["Content-Type"] = headers.get("content-type", "")
    return message.get_content_type() if headers.get("content-type") else ""


async def _parse_form(parser: MultiPartParser) -> FormData:
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise UnreadableError(
            f"The form cannot be read: {error.message}; send one file and the options."
        ) from None


def _files_by_field(form: FormData, *fields: str) -> dict[str, list[UploadFile]]:
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


def _text_fields(form: FormData) -> tuple[tuple[str, str], ...]:
    """Return the text fields of a form, with every repetition."""
    return tuple((key, value) for key, value in form.multi_items() if isinstance(value, str))


async def _read_file(file: UploadFile) -> FileUpload:
    return FileUpload(await file.read(), _filename(file))


def _filename(file: UploadFile) -> str:
    """Return the client's name for a file without folders; it appears in messages only."""
    return PurePath(file.filename or "the upload").name[:_MAX_FILENAME_CHARACTERS] or "the upload"
