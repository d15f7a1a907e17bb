"""Numbers from the bytes of a file that may be truncated or lie."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import UnreadableError


@dataclass
class BytesReader:
    """A place in a file's bytes.

    Attributes:
        data: the file.
        at: offset of what is read next.
    """

    data: bytes
    at: int = 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """The next numbers, laid out as `struct` says.

        Raises:
            UnreadableError: the file ends before.
        """
        size = struct.calcsize(layout)
        if not 0 <= self.at <= len(self.data) - size:
            raise UnreadableError(
                "the file ends where more was to come; it is truncated or damaged, copy it again"
            )
        found = struct.unpack_from(layout, self.data, self.at)
        self.at += size
        return found

    def number(self, layout: str) -> Any:
        """The next number; see `numbers`."""
        return self.numbers(layout)[0]

    def text(self, length: int) -> str:
        """The next bytes as Latin-1 text; see `numbers`."""
        text: bytes = self.number(f"{self.checked(length)}s")
        return text.decode("latin-1")

    def skip(self, length: int) -> None:
        """Go on behind the next bytes; see `numbers`."""
        self.at += self.checked(length)

    def checked(self, length: int) -> int:
        """A length that the rest of the file has.

        Raises:
            UnreadableError: it has not.
        """
        if not 0 <= length <= len(self.data) - self.at:
            raise UnreadableError(
                "the file states more than it holds; it is truncated or damaged, copy it again"
            )
        return length


def array_at(data: bytes, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The numbers at an offset, without copying them.

    Raises:
        UnreadableError: the file ends before.
    """
    count = int(np.prod(shape, dtype=object))
    if offset < 0 or count < 0 or offset + count * dtype.itemsize > len(data):
        raise UnreadableError(
            "the file states more pixels than it holds; it is truncated or damaged, copy it again"
        )
    return np.frombuffer(data, dtype=dtype, count=count, offset=offset).reshape(shape)
