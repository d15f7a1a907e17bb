"""The files of a batch on the disk, where workers read them, for as long as the request lasts."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartParser
from starlette.requests import Request

from app.http.body_stream import body_stream
from app.services.uploads import (
    MAXIMUM_FIELD_BYTES,
    MAXIMUM_FIELDS,
    fields_of,
    files_of,
    media_type_of,
    name_of,
    parsed_form,
)
from app.settings import Settings
from model.errors import OptionError, UnknownFormatError

MAXIMUM_FILES = 1000


@dataclass(frozen=True)
class SavedFile:
    """A file of a request, on the disk as long as that lasts; `name` is the client's, for messages only."""

    path: Path
    name: str


@dataclass(frozen=True)
class SavedForm:
    """Files and options."""

    files: tuple[SavedFile, ...]
    fields: tuple[tuple[str, str], ...]


@asynccontextmanager
async def saved_files(request: Request, settings: Settings) -> AsyncIterator[SavedForm]:
    """The files of a form on the disk, for as long as the block lasts.

    Args:
        request: whose body has not been read; files come in the field `file`, as often as there are files.
        settings: with the limits.

    Raises:
        UnknownFormatError: no form.
        TooLargeError: longer than the settings allow.
        StalledError: slower than they allow.
        UnreadableError: a damaged form.
        OptionError: a form without files, or with one in another field.
    """
    kind = media_type_of(request.headers)
    if kind != "multipart/form-data":
        raise UnknownFormatError(
            f"the request is {kind or 'of no stated type'}; send files as multipart/form-data in the field `file`"
        )
    stream = body_stream(request, settings, "max_batch_bytes")
    parser = MultiPartParser(
        request.headers,
        stream,
        max_files=MAXIMUM_FILES,
        max_fields=MAXIMUM_FIELDS,
        max_part_size=MAXIMUM_FIELD_BYTES,
    )
    with TemporaryDirectory(prefix="dd2d-batch-") as folder:
        form = await parsed_form(parser)
        try:
            yield await asyncio.to_thread(_saved, form, Path(folder))
        finally:
            await form.close()


def _saved(form: FormData, folder: Path) -> SavedForm:
    files = []
    for number, each in enumerate(files_of(form, "file")["file"]):
        path = folder / str(number)
        with path.open("wb") as target:
            shutil.copyfileobj(each.file, target)
        each.file.close()  # the parser's own copy
        files.append(SavedFile(path, name_of(each)))
    if not files:
        raise OptionError("no file came; send the patterns as files in the field `file`, one part for each")
    return SavedForm(tuple(files), fields_of(form))
