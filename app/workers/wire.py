"""Encode, send, receive and validate messages between the service and its worker processes.

On the wire, a message is a number of pieces, their sizes, and the pieces: first the message as msgpack, then the byte
strings that it refers to. Uploads are sent as they are: encoding a frame of 64 MiB would copy it and stop the event
loop for 60 ms. Decoding builds the classes of `messages` and nothing else.
"""

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from pydantic import BaseModel

from app.workers.messages import Message

_COUNT = struct.Struct("<I")
_BLOB = 1  # code of the msgpack extension that stands for a byte string


def encode_message(message: Message) -> list[bytes]:
    """Return the chunks to write one after another; byte strings are included unchanged."""
    blobs: list[bytes] = []
    tree = msgspec.to_builtins(message, builtin_types=(bytes,), enc_hook=_to_builtin)
    body = msgspec.msgpack.encode(_extract_blobs(tree, blobs))
    pieces = [body, *blobs]
    header = _COUNT.pack(len(pieces)) + _sizes_format(len(pieces)).pack(*map(len, pieces))
    return [header, *pieces]


def _decode_message(body: bytes, blobs: Sequence[bytes]) -> Message:
    def insert_blob(_code: int, index: memoryview) -> bytes:
        return blobs[int.from_bytes(index, "little")]

    tree = msgspec.msgpack.decode(body, ext_hook=insert_blob)
    message: Message = msgspec.convert(tree, Message, dec_hook=_from_builtin)
    return message


def _extract_blobs(tree: Any, blobs: list[bytes]) -> Any:
    """Replace the byte strings of a tree of lists and dictionaries by their indices, and collect them."""
    if isinstance(tree, bytes):
        blobs.append(tree)
        return msgspec.msgpack.Ext(_BLOB, (len(blobs) - 1).to_bytes(4, "little"))
    if isinstance(tree, dict):
        return {key: _extract_blobs(value, blobs) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_extract_blobs(value, blobs) for value in tree]
    return tree


def _to_builtin(value: object) -> object:
    """Convert a value of a class that msgspec does not know."""
    # What was not set must not be set on the other side either: an answer repeats the options that were given.
    return value.model_dump(mode="json", exclude_unset=True) if isinstance(value, BaseModel) else str(value)


def _from_builtin(target: type, value: Any) -> object:
    return target.model_validate(value) if issubclass(target, BaseModel) else Path(value)


def _sizes_format(pieces: int) -> struct.Struct:
    return struct.Struct(f"<{pieces}Q")


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write a message and flush the stream."""
    for piece in encode_message(message):
        stream.write(piece)
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Read the next message; None if the other side has closed the stream.

    Raises:
        ConnectionError: the other side closed the stream within a message.
    """
    count = stream.read(_COUNT.size)
    if len(count) < _COUNT.size:
        return None
    sizes = _sizes_format(_COUNT.unpack(count)[0])
    body, *blobs = (_read_exactly(stream, size) for size in sizes.unpack(_read_exactly(stream, sizes.size)))
    return _decode_message(body, blobs)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("The other side closed the connection within a message.")
    return data


async def read_message_async(stream: asyncio.StreamReader) -> Message:
    """Read the next message.

    Raises:
        asyncio.IncompleteReadError: the other side has closed the stream.
    """
    sizes = _sizes_format(_COUNT.unpack(await stream.readexactly(_COUNT.size))[0])
    body, *blobs = [
        await stream.readexactly(size) for size in sizes.unpack(await stream.readexactly(sizes.size))
    ]
    return _decode_message(body, blobs)
