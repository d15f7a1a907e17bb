"""Limits on the expanded size of a zip archive, checked before a member is read."""

import stat
import zipfile
from dataclasses import dataclass

from model.errors import TooLargeError, UnknownFormatError, UnreadableError

_ENCRYPTED = 0x1


@dataclass(frozen=True)
class ZipLimits:
    """What an archive may contain.

    Attributes:
        members: files and folders in its directory.
        member_bytes: expanded size of one member.
        total_bytes: expanded size of all members that are read.
        expansion: factor by which a large member may expand. Deflate reaches 1000, and frames of single electrons do so
            honestly: 80 at one electron in a hundred pixels (uint16), 420 at one in a thousand.
        small_bytes: members up to this size may expand by any factor.
        methods: permitted methods of compression.
    """

    members: int
    member_bytes: int
    total_bytes: int
    expansion: int = 200
    small_bytes: int = 2**20
    methods: frozenset[int] = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})

    def check_member(self, info: zipfile.ZipInfo) -> None:
        """Reject a member by its entry in the directory; zipfile never yields more bytes than the entry states.

        Raises:
            UnreadableError: encrypted, or a symbolic link.
            UnknownFormatError: compressed by another method.
            TooLargeError: its size or its expansion exceeds the limit.
        """
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableError("The file is encrypted; create the archive without a password.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnreadableError("The file is a symbolic link; archive the file itself.")
        if info.compress_type not in self.methods:
            raise UnknownFormatError("The file uses an unusual compression method; use deflate, the default.")
        if info.file_size > self.member_bytes:
            raise TooLargeError(
                f"The file expands to more than {format_bytes(self.member_bytes)}; make it smaller, or unpack it first."
            )
        if info.file_size > max(self.small_bytes, self.expansion * info.compress_size):
            raise TooLargeError(
                f"The file expands by more than a factor of {self.expansion}; unpack it first if you trust it."
            )


def is_hidden(name: str) -> bool:
    """Return whether a member is hidden: `__MACOSX`, or a name that begins with a dot."""
    parts = name.replace("\\", "/").split("/")
    return any(part == "__MACOSX" or (part.startswith(".") and part not in {".", ".."}) for part in parts)


def format_bytes(size: int) -> str:
    """Return a size in MiB, for messages."""
    return f"{size / 2**20:g} MiB"
