"""Reading numbers from the bytes of a file that may be truncated or hostile."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import UnreadableError


@dataclass
class BytesReader:
    """A position in the bytes of a file.

    Attributes:
        data: content of the file.
        position: offset of what is read next.
    """

    data: bytes
    position: int = 0

    def read_numbers(self, layout: str) -> tuple[Any, ...]:
        """Read the next numbers, in a layout of the `struct` module.

        Raises:
            UnreadableError: The file ends before.
        """
        size = struct.calcsize(layout)
        if not 0 <= self.position <= len(self.data) - size:
            raise UnreadableError("The file ends too early; it is truncated or damaged. Copy it again.")
        numbers = struct.unpack_from(layout, self.data, self.position)
        self.position += size
        return numbers

    def read_number(self, layout: str) -> Any:
        """Read the next number; see `read_numbers`."""
        return self.read_numbers(layout)[0]

    def read_text(self, length: int) -> str:
        """Read the next bytes as Latin-1 text; see `read_numbers`."""
        text: bytes = self.read_number(f"{self.check_length(length)}s")
        return text.decode("latin-1")

    def skip(self, length: int) -> None:
        """Skip the next bytes; see `read_numbers`."""
        self.position += self.check_length(length)

    def check_length(self, length: int) -> int:
        """Check that this many bytes remain in the file, and return their number.

        Raises:
            UnreadableError: The rest of the file is shorter.
        """
        if not 0 <= length <= len(self.data) - self.position:
            raise UnreadableError(
                "The file declares more data than it contains; it is truncated or damaged. Copy it again."
            )
        return length


def read_array(data: bytes, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the numbers at an offset as an array, without copying them.

    Raises:
        UnreadableError: The file ends before.
    """
    count = int(np.prod(shape, dtype=object))
    if offset < 0 or count < 0 or offset + count * dtype.itemsize > len(data):
        raise UnreadableError(
            "The file declares more pixels than it contains; it is truncated or damaged. Copy it again."
        )
    return np.frombuffer(data, dtype=dtype, count=count, offset=offset).reshape(shape)
