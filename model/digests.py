"""SHA-256 of files and of arrays in memory, a piece at a time.

The generators yield the number of bytes after each piece, so that a caller can digest gigabytes slowly beside other
work.
"""

import hashlib
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 2**20

T = TypeVar("T")
Steps = Generator[int, None, T]
"""Yields bytes read; returns the result."""


def digest_files(paths: Iterable[Path]) -> Steps[str]:
    """Return the SHA-256, in hexadecimal, of files one after another.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb", buffering=0) as stream:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
                yield len(piece)
    return digest.hexdigest()


def finish(steps: Steps[T]) -> T:
    """Return the result of steps that are taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class ArrayDigests:
    """The digests of arrays in memory when this object is made, to find a bit that changes later.

    Args:
        arrays: by a name for messages; they are kept, not copied.
        earlier: digests of other arrays; those that both have in common are not digested again.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray[np.generic]], earlier: "ArrayDigests | None" = None
    ) -> None:
        self._arrays = dict(arrays)
        self._digests: dict[tuple[Any, ...], str]
        known = {} if earlier is None else earlier._digests
        self._digests = {
            _locate(array): known.get(_locate(array)) or finish(_digest_array(array))
            for array in self._arrays.values()
        }

    def find_changed(self) -> Steps[str | None]:
        """Return the name of the first array that has changed, or None."""
        for name, array in self._arrays.items():
            if (yield from _digest_array(array)) != self._digests[_locate(array)]:
                return name
        return None


def _locate(array: NDArray[np.generic]) -> tuple[Any, ...]:
    return array.__array_interface__["data"][0], array.nbytes, array.strides


def _digest_array(array: NDArray[np.generic]) -> Steps[str]:
    digest = hashlib.sha256()
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    for first in range(0, len(content), PIECE_BYTES):
        piece = content[first : first + PIECE_BYTES]
        digest.update(piece)
        yield len(piece)
    return digest.hexdigest()
