"""Which kind of source a path is, told by content and never by name."""

import json
from collections.abc import Iterator
from pathlib import Path

from index.sources.ase_database import SQLITE_MAGIC, ase_database_records
from index.sources.documents import document_records
from index.sources.json_lines import is_json_lines, json_lines_records
from index.sources.record import CrystalRecord, Record, RejectedEntry, make_crystal
from index.sources.source_file import GZIP_MAGIC, SourceFile
from index.sources.structure_files import (
    MAX_MEMBER_BYTES,
    MAX_STRUCTURE_BYTES,
    ZIP_MAGIC,
    folder_files,
    text_records,
    zip_files,
)
from model.crystal.crystal import Crystal
from model.errors import DomainError, OptionError, UnknownFormatError, UnreadableError

STARTER = Path("starter")
"""The keyword that stands for the library this project carries; `./starter` is a folder of that name."""


def read_crystals(path: Path) -> Iterator[Crystal | RejectedEntry]:
    """The crystals of a source, one by one; what cannot be used comes as `RejectedEntry` in its place.

    Args:
        path: file, folder or zip of any kind that is known, or the keyword `starter`.

    Raises:
        OptionError: no such file.
    """
    for record in read_records(path):
        yield record if isinstance(record, RejectedEntry) else make_crystal(record)


def read_records(path: Path) -> Iterator[Record | RejectedEntry]:
    """As `read_crystals`, but before the structures are turned into crystals.

    Raises:
        OptionError: no such file.
    """
    check_source(path)
    if path == STARTER:
        from index.starter.library import starter_entries

        for entry in starter_entries():
            yield CrystalRecord(entry.crystal, reference=entry.reference)
    elif path.is_dir():
        source = path.resolve().name
        for file in folder_files(path, source):
            yield from _file_records(file)
    else:
        file = SourceFile.on_disk(path, path.name, path.name)
        yield from _file_records(SourceFile(file.name, file.stem, file.open, path))


def check_source(path: Path) -> None:
    """Tell a mistyped source before an hour of reading the others.

    Raises:
        OptionError: no such file.
    """
    if path != STARTER and not path.exists():
        raise OptionError(f"source {path} does not exist: give a file, a folder, or the keyword `starter`")


def _file_records(file: SourceFile) -> Iterator[Record | RejectedEntry]:
    """Records of one file; whatever goes wrong with it is one rejected entry."""
    try:
        yield from _recognised(file)
    except DomainError as error:
        yield RejectedEntry(file.name, str(error))
    except Exception as error:  # zipfile, zlib, gzip, json and sqlite each have their own for damaged files
        yield RejectedEntry(file.name, f"the file is damaged: {error}")


def _recognised(file: SourceFile) -> Iterator[Record | RejectedEntry]:
    file = file.expanded()
    head = file.head()
    if head.startswith(SQLITE_MAGIC):
        if file.path is None:
            raise UnknownFormatError("a database inside an archive: unpack it first")
        yield from ase_database_records(file.path, file.name, file.source)
    elif head.startswith(ZIP_MAGIC):
        if file.path is None:
            raise UnknownFormatError("an archive inside an archive: unpack it first")
        for member in zip_files(file):
            if isinstance(member, RejectedEntry):
                yield member
            else:
                yield from _file_records(member)
    elif head.startswith(GZIP_MAGIC):
        raise UnknownFormatError("compressed twice: unpack it first")
    else:
        yield from _text_file_records(file, head)


def _text_file_records(file: SourceFile, head: bytes) -> Iterator[Record | RejectedEntry]:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\x00" in head or not start:
        raise UnknownFormatError("the file is empty" if not head else "a binary file of no known format")
    if start.startswith((b"{", b"[")):
        if is_json_lines(file):
            yield from json_lines_records(file)
        else:
            yield from document_records(_json_document(file), file.stem, file.source)
    else:
        text = file.content(MAX_STRUCTURE_BYTES).decode("utf-8-sig", "replace")
        yield from text_records(text, file)


def _json_document(file: SourceFile) -> object:
    content = file.content(MAX_MEMBER_BYTES)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the file is damaged JSON: {error}") from None
