"""An uploaded zip, read member by member within limits on its expanded size."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from model.errors import DomainError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.formats.npy import is_npz
from model.zip_limits import ZipLimits, format_bytes, is_hidden

BATCH_LIMITS = ZipLimits(members=1000, member_bytes=64 * 2**20, total_bytes=2**30, small_bytes=16 * 2**20)
# Begins each entry of the directory. Entries are counted before `zipfile` makes an object of each.
_ENTRY = b"PK\x01\x02"
# Counting 256 MiB in one piece would stop all other threads for a tenth of a second.
_PIECE_BYTES = 4 * 2**20
# What zipfile and zlib raise for damaged archives; NotImplementedError is a RuntimeError.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_NESTED = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")


@dataclass(frozen=True)
class Member:
    """A file of an archive, or the reason why it was not read.

    Attributes:
        name: as in the archive, made printable; for messages and answers, never a path on a disk.
        content: the bytes, or the error.
    """

    name: str
    content: bytes | DomainError


def read_members(data: bytes, limits: ZipLimits = BATCH_LIMITS) -> Iterator[Member]:
    """Return an iterator over the files of a zip in the order of its directory, one in memory at a time.

    A member that cannot be read comes with its error. Folders and hidden files are skipped. Once the members together
    exceed their limit, one error stands for all remaining ones. Archives inside the archive are not opened.

    Args:
        data: the archive.
        limits: what it may contain.

    Raises:
        UnreadableError: not a zip, or its directory is damaged.
        TooLargeError: it has too many members.
    """
    if _count_entries(data) > 2 * limits.members:  # the bytes of members may look like some
        raise _make_count_error(limits)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        if len(archive.infolist()) > limits.members:
            raise _make_count_error(limits)
    except _DAMAGED as error:
        raise UnreadableError(
            "The file is not a zip archive or is damaged; create the archive again."
        ) from error
    return _read_each(archive, limits)


def _count_entries(data: bytes) -> int:
    """Return how often an entry of the directory may begin."""
    overlap = _PIECE_BYTES + len(_ENTRY) - 1
    return sum(data.count(_ENTRY, at, at + overlap) for at in range(0, len(data), _PIECE_BYTES))


def _make_count_error(limits: ZipLimits) -> TooLargeError:
    return TooLargeError(f"The zip has more than {limits.members} members; send several smaller ones.")


def _read_each(archive: zipfile.ZipFile, limits: ZipLimits) -> Iterator[Member]:
    total = 0
    seen: set[str] = set()
    with archive:
        for info in archive.infolist():
            if info.filename.endswith("/") or is_hidden(info.filename):
                continue
            name = _make_printable(info.filename)
            try:
                _check_name(info.filename, seen)
                limits.check_member(info)
                if total + info.file_size > limits.total_bytes:
                    yield Member(name, _make_size_error(limits))
                    return
                content = _read(archive, info)
            except DomainError as error:
                yield Member(name, error)
            else:
                total += len(content)
                yield Member(name, content)
            seen.add(info.filename)


def _make_size_error(limits: ZipLimits) -> TooLargeError:
    return TooLargeError(
        f"This file and the remaining files of the zip expand to more than {format_bytes(limits.total_bytes)}; send "
        "several smaller ones."
    )


def _check_name(name: str, seen: set[str]) -> None:
    if not name:
        raise UnreadableError("The file has no name; create the archive again.")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise UnreadableError(
            "The file's path points outside the archive; create the archive again with plain names."
        )
    if name in seen:
        raise UnreadableError(
            "The file's name occurs more than once in the zip; give each file its own name."
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read a member; `zipfile` never yields more bytes than the directory states, and checks their checksum."""
    try:
        with archive.open(info) as file:
            content = file.read(info.file_size + 1)
    except _DAMAGED as error:
        raise UnreadableError("The file is damaged; create the archive again.") from error
    if len(content) != info.file_size:
        raise UnreadableError("The file is damaged; create the archive again.")
    # NPZ files are zips, and patterns; their reader has limits of its own.
    if content.startswith(_NESTED) and not is_npz(content):
        raise UnknownFormatError("The file is itself an archive; unpack it first.")
    return content


def _make_printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:200]
