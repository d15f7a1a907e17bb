"""A file of a source, wherever it lies: on the disk, inside a zip, compressed."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from model.errors import TooLargeError

GZIP_MAGIC = b"\x1f\x8b"
SUFFIXES = {".gz", ".jsonl", ".ndjson", ".json", ".cif", ".vasp", ".poscar", ".db", ".zip", ".txt"}
HEAD_BYTES = 4096


@dataclass(frozen=True)
class SourceFile:
    """A file to be read, by content.

    Attributes:
        name: path within the source, as reports give it.
        source: name of the source that the user gave.
        open: starts reading from the beginning.
        path: place on the disk, None for a member of an archive.
        compressed: the content came through gzip.
    """

    name: str
    source: str
    open: Callable[[], BinaryIO]
    path: Path | None = None
    compressed: bool = False

    @classmethod
    def on_disk(cls, path: Path, name: str, source: str) -> "SourceFile":
        """A file at `path`."""
        return cls(name, source, lambda: path.open("rb"), path)

    @property
    def stem(self) -> str:
        """The name without the suffixes that tell a format; the id of a file that holds one structure."""
        name = PurePosixPath(self.name)
        while name.suffix.lower() in SUFFIXES and name.stem:
            name = name.with_suffix("")
        return str(name)

    def head(self) -> bytes:
        """The first few thousand bytes."""
        with self.open() as stream:
            return stream.read(HEAD_BYTES)

    def content(self, limit: int) -> bytes:
        """All of it.

        Args:
            limit: bytes that it may have.

        Raises:
            TooLargeError: it has more.
        """
        with self.open() as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise TooLargeError(f"larger than {limit / 2**20:.0f} MiB, too large for one structure file")
        return content

    def expanded(self) -> "SourceFile":
        """The content behind one layer of gzip, if there is one."""
        if self.compressed or not self.head().startswith(GZIP_MAGIC):
            return self
        opened = partial(_Gunzipped, self.open)
        return replace(self, open=cast("Callable[[], BinaryIO]", opened), path=None, compressed=True)


class _Gunzipped(gzip.GzipFile):
    """Closes what it reads from, which `GzipFile` leaves to the caller."""

    def __init__(self, open_compressed: Callable[[], BinaryIO]) -> None:
        self._compressed = open_compressed()
        super().__init__(fileobj=self._compressed, mode="rb")

    def close(self) -> None:
        super().close()
        self._compressed.close()
