"""The files of a source: on disk, in a folder, in a zip, or gzip-compressed."""

import gzip
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from index.sources.record import RejectedEntry
from model.errors import DomainError, TooLargeError
from model.zip_limits import ZipLimits, format_bytes, is_hidden

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ZIP_LIMITS = ZipLimits(
    members=1_000_000,
    member_bytes=512 * 2**20,
    total_bytes=8 * 2**30,
    methods=frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}),
)
_SUFFIXES = {".gz", ".jsonl", ".ndjson", ".json", ".cif", ".vasp", ".poscar", ".db", ".zip", ".txt"}
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Attributes:
        name: path within the source, for reports.
        source: name of the source.
        open: opens the file at its beginning.
        path: path on the disk; None for a member of an archive.
        is_expanded: whether the content came through gzip.
    """

    name: str
    source: str
    open: Callable[[], BinaryIO]
    path: Path | None = None
    is_expanded: bool = False

    @classmethod
    def from_path(cls, path: Path, name: str, source: str) -> "SourceFile":
        """Make a source file from a path on the disk."""
        return cls(name, source, lambda: path.open("rb"), path)

    @property
    def stem(self) -> str:
        """The name without the suffixes of known formats, used as the id of a file with one structure."""
        name = PurePosixPath(self.name)
        while name.suffix.lower() in _SUFFIXES and name.stem:
            name = name.with_suffix("")
        return str(name)

    def read_head(self) -> bytes:
        """Return the first few thousand bytes."""
        with self.open() as stream:
            return stream.read(_HEAD_BYTES)

    def read_content(self, max_bytes: int) -> bytes:
        """Return the whole content.

        Raises:
            TooLargeError: it has more than `max_bytes`.
        """
        with self.open() as stream:
            content = stream.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise TooLargeError(
                f"The file has more than {format_bytes(max_bytes)}, too much for one structure file."
            )
        return content

    def expand(self) -> "SourceFile":
        """Return the file inside one layer of gzip, if there is one, otherwise this file."""
        if self.is_expanded or not self.read_head().startswith(GZIP_MAGIC):
            return self
        open_expanded = partial(_GzipReader, self.open)
        return replace(self, open=cast("Callable[[], BinaryIO]", open_expanded), path=None, is_expanded=True)


class _GzipReader(gzip.GzipFile):
    """Also closes the compressed file, which `GzipFile` leaves to its caller."""

    def __init__(self, open_compressed: Callable[[], BinaryIO]) -> None:
        self._compressed = open_compressed()
        super().__init__(fileobj=self._compressed, mode="rb")

    def close(self) -> None:
        super().close()
        self._compressed.close()


def list_folder(folder: Path, source: str) -> Iterator[SourceFile]:
    """Yield the files of a folder and its subfolders by name, except hidden ones."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            yield SourceFile.from_path(path, inside.as_posix(), source)


def list_zip(file: SourceFile, limits: ZipLimits = ZIP_LIMITS) -> Iterator[SourceFile | RejectedEntry]:
    """Yield the files of a zip, within limits on its expanded size.

    Args:
        file: the zip, on the disk.
        limits: what it may contain.
    """
    assert file.path is not None
    try:
        archive = zipfile.ZipFile(file.path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        yield RejectedEntry(file.name, f"The zip is damaged: {error}.")
        return
    with archive:
        total = 0
        for count, member in enumerate(archive.infolist()):
            if member.is_dir() or is_hidden(member.filename):
                continue
            name = f"{file.name}/{member.filename}"
            try:
                limits.check_member(member)
            except DomainError as error:
                yield RejectedEntry(name, str(error))
                continue
            total += member.file_size
            if count >= limits.members or total > limits.total_bytes:
                yield RejectedEntry(
                    name,
                    "This file and the remaining files of the zip exceed the limit; unpack it into a folder.",
                )
                return
            yield SourceFile(
                member.filename, file.source, cast("partial[BinaryIO]", partial(archive.open, member))
            )
