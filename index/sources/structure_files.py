"""CIF and POSCAR files, folders and zips."""

import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from index.sources.record import Record, RejectedEntry, TextRecord, plain_text
from index.sources.source_file import SourceFile

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
MAX_STRUCTURE_BYTES = 16 * 2**20
MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 512 * 2**20
MAX_EXPANDED_BYTES = 8 * 2**30
MAX_EXPANSION = 200
# A small file may shrink by any factor without harm.
_HARMLESS_BYTES = 2**20

_DATA_BLOCK = re.compile(r"data_(\S*)", re.IGNORECASE)
_CELL = re.compile(r"\s*_cell[_.]length_a\b", re.IGNORECASE)


def text_records(text: str, file: SourceFile) -> Iterator[Record]:
    """The structures in the text of a CIF, which may have several data blocks, or of a POSCAR."""
    blocks = [block for block in _data_blocks(text) if block.has_cell]
    if len(blocks) < 2:
        yield TextRecord(plain_text(file.stem), file.source, "".join(blocks[0].lines) if blocks else text)
        return
    for block in blocks:
        yield TextRecord(plain_text(f"{file.stem}#{block.name}"), file.source, "".join(block.lines))


@dataclass
class _DataBlock:
    """A data block of a CIF, and whether it says how large a cell is."""

    name: str
    lines: list[str] = field(default_factory=list)
    has_cell: bool = False


def _data_blocks(text: str) -> list[_DataBlock]:
    """The data blocks; what stands inside a text field (between lines that begin with `;`) is no CIF."""
    blocks: list[_DataBlock] = []
    in_field = False
    for line in text.splitlines(keepends=True):
        in_field ^= line.startswith(";")
        heading = None if in_field else _DATA_BLOCK.match(line)
        if heading:
            blocks.append(_DataBlock(heading.group(1)))
        if blocks:
            blocks[-1].lines.append(line)
            blocks[-1].has_cell |= not in_field and bool(_CELL.match(line))
    return blocks


def folder_files(folder: Path, source: str) -> Iterator[SourceFile]:
    """The files of a folder and those below it, in order of name; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if not hidden and path.is_file():
            yield SourceFile.on_disk(path, inside.as_posix(), source)


def zip_files(file: SourceFile) -> Iterator[SourceFile | RejectedEntry]:
    """The files of a zip, within limits on what it may expand to."""
    assert file.path is not None
    try:
        archive = zipfile.ZipFile(file.path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        yield RejectedEntry(file.name, f"the zip is damaged: {error}")
        return
    with archive:
        expanded = 0
        for count, member in enumerate(archive.infolist()):
            if member.is_dir() or _hidden(member.filename):
                continue
            name = f"{file.name}/{member.filename}"
            refusal = _refusal(member)
            if refusal:
                yield RejectedEntry(name, refusal)
                continue
            expanded += member.file_size
            if count >= MAX_MEMBERS or expanded > MAX_EXPANDED_BYTES:
                yield RejectedEntry(
                    name, "this and the rest of the zip exceed the limit: unpack it into a folder"
                )
                return
            opened = cast("partial[BinaryIO]", partial(archive.open, member))
            yield SourceFile(member.filename, file.source, opened)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _refusal(member: zipfile.ZipInfo) -> str | None:
    """Why a member is not read. zipfile never yields more bytes than the directory states."""
    if member.flag_bits & 0x1:
        return "the member is encrypted: unpack it first"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "the member is a symbolic link"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"the member is larger than {MAX_MEMBER_BYTES // 2**20} MiB: unpack it first"
    if member.file_size > max(_HARMLESS_BYTES, MAX_EXPANSION * member.compress_size):
        return f"the member expands more than {MAX_EXPANSION} times: unpack it first if it is to be trusted"
    return None
