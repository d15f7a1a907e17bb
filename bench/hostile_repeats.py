"""Bytes repeated to any size."""

from collections.abc import Callable, Iterator

Make = Callable[[int], bytes]
"""Returns about as many bytes as asked."""
Makers = Iterator[tuple[str, Make]]
"""Names of what is hostile, and makers."""


def repeat(unit: bytes, before: bytes = b"", after: bytes = b"") -> Make:
    """Return a maker of a unit repeated between two constant parts."""
    return lambda size: before + unit * max((size - len(before) - len(after)) // len(unit), 1) + after
