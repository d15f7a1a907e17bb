"""Save the files of a batch on disk as they arrive."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser
from starlette.requests import Request

from app.http.batch_folder import make_batch_folder
from app.http.body_budget import BodyBudget
from app.http.read_body import (
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    filename,
    files_by_field,
    get_media_type,
    parse_form,
    stream_body,
    text_fields,
)
from app.services.uploads import SavedFile, SavedForm
from app.settings import Settings
from model.errors import OptionError, StorageFullError, UnknownFormatError

logger = logging.getLogger(__name__)

MAX_BATCH_FILES = 1000


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
    with ExitStack() as stack:
        # The budget is for bodies in memory; there are few batches.
        with _translate_storage_errors(), BodyBudget(2**63).arriving() as arriving:
            folder = stack.enter_context(make_batch_folder())
            stream = stream_body(request, settings, "max_batch_bytes", arriving)
            form = await parse_form(_ToDiskParser(request.headers, stream, folder))
        files = files_by_field(form, "file")["file"]
        if not files:
            raise OptionError("The request has no file; send each pattern as a file in the field `file`.")
        saved = tuple(SavedFile(each.path, filename(each)) for each in files if isinstance(each, _FileOnDisk))
        yield SavedForm(saved, text_fields(form))


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


class _ToDiskParser(MultiPartParser):
    """A parser that writes each file to the folder, and holds neither its content nor a file descriptor."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], folder: Path) -> None:
        super().__init__(
            headers, stream, max_files=MAX_BATCH_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        )
        self._folder = folder

    def on_headers_finished(self) -> None:
        """Start a part."""
        super().on_headers_finished()
        file = self._current_part.file
        if file is not None:
            file.file.close()
            path = self._folder / str(self._current_files - 1)
            self._current_part.file = _FileOnDisk(path, file.filename)


class _FileOnDisk(UploadFile):
    def __init__(self, path: Path, filename: str | None) -> None:
        super().__init__(BytesIO(), filename=filename)
        self.path = path
        path.touch()

    async def write(self, data: bytes) -> None:
        """Append to the file."""
        await asyncio.to_thread(self._append, data)

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as target:
            target.write(data)
