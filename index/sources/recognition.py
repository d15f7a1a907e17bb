"""Reading a source of any kind; the kind is recognized by content, never by name.

To add a format, write a module that yields records, and add a branch to `_read_recognized` or, for text, to
`_read_text_file`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from index.sources.ase_database import SQLITE_MAGIC, read_ase_database
from index.sources.json_documents import read_document
from index.sources.json_lines import is_json_lines, read_json_lines
from index.sources.record import CrystalRecord, Record, RejectedEntry, make_crystal
from index.sources.source_file import (
    BYTE_ORDER_MARK,
    GZIP_MAGIC,
    ZIP_LIMITS,
    ZIP_MAGIC,
    SourceFile,
    list_folder,
    list_zip,
)
from index.sources.structure_files import MAX_STRUCTURE_BYTES, read_structure_text
from model.crystal.crystal import Crystal
from model.errors import DomainError, OptionError, UnknownFormatError, UnreadableError

STARTER = Path("starter")
"""The keyword for the starter library; `./starter` is a folder of that name."""


def read_crystals(path: Path) -> Iterator[Crystal | RejectedEntry]:
    """Yield the crystals of a source one by one, and a `RejectedEntry` for each entry that cannot be used.

    Args:
        path: file, folder or zip of any known kind, or the keyword `starter`.

    Raises:
        OptionError: there is no such file.
    """
    for record in read_records(path):
        yield record if isinstance(record, RejectedEntry) else make_crystal(record)


def read_records(path: Path) -> Iterator[Record | RejectedEntry]:
    """Yield the records of a source, before they are turned into crystals; see `read_crystals`.

    Raises:
        OptionError: there is no such file.
    """
    check_source(path)
    if path == STARTER:
        from index.starter.library import read_starter_entries

        for entry in read_starter_entries():
            yield CrystalRecord(entry.crystal, reference=entry.reference)
    elif path.is_dir():
        for file in list_folder(path, path.resolve().name):
            yield from _read_file(file)
    else:
        file = SourceFile.from_path(path, path.name, path.name)
        yield from _read_file(SourceFile(file.name, file.stem, file.open, path))


def check_source(path: Path) -> None:
    """Reject a source that does not exist (OptionError), before an hour is spent on the others."""
    if path != STARTER and not path.exists():
        raise OptionError(
            f"The source {path} does not exist; give a file, a folder, or the keyword `starter`."
        )


def _read_file(file: SourceFile) -> Iterator[Record | RejectedEntry]:
    """Yield the records of one file; any error becomes a rejected entry."""
    try:
        yield from _read_recognized(file)
    except DomainError as error:
        yield RejectedEntry(file.name, str(error))
    except Exception as error:  # zipfile, zlib, gzip, json and sqlite3 each raise their own for damaged files
        yield RejectedEntry(file.name, f"The file is damaged: {error}.")


def _read_recognized(file: SourceFile) -> Iterator[Record | RejectedEntry]:
    file = file.expand()
    head = file.read_head()
    if head.startswith(SQLITE_MAGIC):
        if file.path is None:
            raise UnknownFormatError("The file is a database inside an archive; unpack it first.")
        yield from read_ase_database(file.path, file.name, file.source)
    elif head.startswith(ZIP_MAGIC):
        if file.path is None:
            raise UnknownFormatError("The file is an archive inside an archive; unpack it first.")
        for member in list_zip(file):
            if isinstance(member, RejectedEntry):
                yield member
            else:
                yield from _read_file(member)
    elif head.startswith(GZIP_MAGIC):
        raise UnknownFormatError("The file is compressed twice; unpack it first.")
    else:
        yield from _read_text_file(file, head)


def _read_text_file(file: SourceFile, head: bytes) -> Iterator[Record | RejectedEntry]:
    start = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if b"\x00" in head or not start:
        raise UnknownFormatError(
            "The file is a binary file of an unknown format." if head else "The file is empty."
        )
    if start.startswith((b"{", b"[")):
        if is_json_lines(file):
            yield from read_json_lines(file)
        else:
            yield from read_document(_parse_json(file), file.stem, file.source)
    else:
        text = file.read_content(MAX_STRUCTURE_BYTES).decode("utf-8-sig", "replace")
        yield from read_structure_text(text, file)


def _parse_json(file: SourceFile) -> object:
    content = file.read_content(ZIP_LIMITS.member_bytes)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"The JSON is damaged: {error}.") from None
