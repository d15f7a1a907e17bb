"""Messages over a socket between a service and its own workers: a length, JSON, and the bytes that it announces."""

import asyncio
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<I")
_SIZES = "sizes"

Message = tuple[dict[str, Any], tuple[bytes, ...]]


def packed(head: dict[str, Any], blobs: Sequence[bytes] = ()) -> Iterator[bytes]:
    """A message in the pieces that are written one after the other."""
    text = json.dumps({**head, _SIZES: [len(blob) for blob in blobs]}).encode()
    yield _LENGTH.pack(len(text)) + text
    yield from blobs


def write(stream: BinaryIO, head: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send a message, waiting until it is out."""
    for piece in packed(head, blobs):
        stream.write(piece)
    stream.flush()


def read(stream: BinaryIO) -> Message | None:
    """The next message; None where the other side has closed.

    Raises:
        ConnectionError: it closed within a message.
    """
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    head = json.loads(_whole(stream, _LENGTH.unpack(length)[0]))
    return head, tuple(_whole(stream, size) for size in head.pop(_SIZES))


def _whole(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the other side closed within a message")
    return data


async def read_async(stream: asyncio.StreamReader) -> Message:
    """The next message.

    Raises:
        asyncio.IncompleteReadError: the other side has closed.
    """
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    head = json.loads(await stream.readexactly(length))
    return head, tuple([await stream.readexactly(size) for size in head.pop(_SIZES)])
