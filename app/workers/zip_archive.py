"""A zip that came as an upload, member by member, within limits on what it may expand to."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from model.errors import DomainError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.formats.npy import is_npz

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
# Begins each entry of the directory. Those are counted before `zipfile` makes an object of each.
_ENTRY = b"PK\x01\x02"
# Of 256 MiB in one piece, no other thread runs for a tenth of a second.
_PIECE_BYTES = 4 * 2**20
# What zipfile and zlib raise of damaged archives; NotImplementedError is a RuntimeError.
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
# Deflate reaches 1000. Frames of single electrons do so honestly: 80 at one in a hundred pixels (uint16), 420 at one in
# a thousand; so the factor counts for large members only.
_HARMLESS_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ZipLimits:
    """What an archive may hold.

    Attributes:
        members: files and folders in its directory.
        member_bytes: of one member, expanded.
        total_bytes: of all members that are given, expanded.
        expansion: times that a member of more than 16 MiB may grow.
    """

    members: int = 1000
    member_bytes: int = 64 * 2**20
    total_bytes: int = 2**30
    expansion: int = 200


@dataclass(frozen=True)
class Member:
    """A file of an archive, or why it is not given.

    Attributes:
        name: as the archive has it, made printable; for messages and answers, never a path on a disk.
        content: the bytes, or the error.
    """

    name: str
    content: bytes | DomainError


def limited_zip(data: bytes, limits: ZipLimits | None = None) -> Iterator[Member]:
    """The files of a zip in the order of its directory, one in memory at a time.

    A member that cannot be given comes with its error, and the others still come. Folders, and what hides itself
    (`__MACOSX`, names that begin with a dot), do not come at all. Once the sum of the members exceeds its limit,
    one error stands for all that are left. Archives inside are not opened.

    Args:
        data: the archive.
        limits: what it may hold.

    Raises:
        UnreadableError: it is no zip, or its directory is damaged.
        TooLargeError: it has too many members.
    """
    limits = limits or ZipLimits()
    if _entries(data) > 2 * limits.members:  # some may stand in the members' own bytes
        raise _too_many(limits)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        if len(archive.infolist()) > limits.members:
            raise _too_many(limits)
    except _DAMAGED as error:
        raise UnreadableError("the zip is damaged, or none; pack it again") from error
    return _members(archive, limits)


def _entries(data: bytes) -> int:
    """How often an entry may begin."""
    over = _PIECE_BYTES + len(_ENTRY) - 1
    return sum(data.count(_ENTRY, at, at + over) for at in range(0, len(data), _PIECE_BYTES))


def _too_many(limits: ZipLimits) -> TooLargeError:
    return TooLargeError(f"the zip has more than {limits.members} members; send several smaller ones")


def _members(archive: zipfile.ZipFile, limits: ZipLimits) -> Iterator[Member]:
    total = 0
    seen: set[str] = set()
    with archive:
        for info in archive.infolist():
            if info.filename.endswith("/") or _is_hidden(info.filename):
                continue
            name = _printable(info.filename)
            refusal = _refusal(info, limits, seen)
            seen.add(info.filename)
            if refusal is None and total + info.file_size > limits.total_bytes:
                told = f"this and the rest of the zip expand to more than {_mebibytes(limits.total_bytes)}"
                yield Member(name, TooLargeError(f"{told}; send several smaller ones"))
                return
            content = refusal or _read(archive, info)
            total += len(content) if isinstance(content, bytes) else 0
            yield Member(name, content)


def _refusal(info: zipfile.ZipInfo, limits: ZipLimits, seen: set[str]) -> DomainError | None:
    """Why a member is not read, by what the directory says of it."""
    if not info.filename:
        return UnreadableError("it has no name; pack it again")
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        return UnreadableError("its name leads out of the zip; pack it again with plain names")
    if info.filename in seen:
        return UnreadableError("its name comes more than once in the zip; give each file its own")
    if info.flag_bits & _ENCRYPTED:
        return UnreadableError("it is encrypted; pack it without a password")
    if stat.S_ISLNK(info.external_attr >> 16):
        return UnreadableError("it is a symbolic link; pack the file itself")
    if info.compress_type not in _METHODS:
        return UnknownFormatError(
            "it is packed in an unusual way; pack it with deflate, as zip does by itself"
        )
    if info.file_size > limits.member_bytes:
        return TooLargeError(f"it expands to more than {_mebibytes(limits.member_bytes)}; bin or crop it")
    if info.file_size > max(_HARMLESS_BYTES, limits.expansion * info.compress_size):
        return TooLargeError(f"it expands more than {limits.expansion} times; send it by itself, unpacked")
    return None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | DomainError:
    """The bytes. `zipfile` never gives more of them than the directory states, and checks their sum."""
    try:
        with archive.open(info) as file:
            content = file.read(info.file_size + 1)
    except _DAMAGED:
        return UnreadableError("it is damaged; pack it again")
    if len(content) != info.file_size:
        return UnreadableError("it is damaged; pack it again")
    # NPZ files are zips, and patterns; their reader has limits of its own.
    if content.startswith(_NESTED) and not is_npz(content):
        return UnknownFormatError("it is an archive itself; unpack it first")
    return content


def _is_hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return any(part == "__MACOSX" or (part.startswith(".") and part not in {".", ".."}) for part in parts)


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:200]


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:g} MiB"
