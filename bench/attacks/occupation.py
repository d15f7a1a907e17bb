"""Connections that attackers hold open, and how they misbehave on them."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import count

from bench.attacks.requests import BOUNDARY, FORM, JSON, Target, build_form, parse_status, read_answer, send

MAX_OPENED = 5_000
_REOPEN_S = 0.1
STALLED_BYTES = 4096

Behavior = Callable[[Target, socket.socket], Awaitable[None]]


async def occupy(
    target: Target, clients: int, behave: Behavior, addresses: int = 1, receive_bytes: int | None = None
) -> Counter[str]:
    """Have clients open connections and misbehave on them until the end.

    Args:
        target: the service.
        clients: number of simultaneous connections.
        behave: what a client does on its connection, before it waits for the service to close it.
        addresses: number of addresses from which the connections come.
        receive_bytes: size of the receive buffer of a client that reads nothing.
    """
    seen: Counter[str] = Counter()
    opened = count()

    async def client(number: int) -> None:
        source = f"127.0.{1 + number % addresses // 250}.{2 + number % addresses % 250}"
        while not target.is_over and next(opened) < MAX_OPENED:
            try:
                async with asyncio.timeout(target.remaining_s):
                    with await target.connect(source, receive_bytes) as connection:
                        await behave(target, connection)
                        seen[_describe(await read_answer(connection))] += 1
            except TimeoutError:
                seen["still open"] += 1
            except OSError as error:
                seen[type(error).__name__] += 1
            await asyncio.sleep(_REOPEN_S)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return seen


def _describe(answer: bytes) -> str:
    return str(parse_status(answer) or "closed")


def open_with(beginning: Callable[[Target], bytes]) -> Behavior:
    """Return a behavior that sends one piece and waits."""

    async def behave(target: Target, connection: socket.socket) -> None:
        await send(connection, beginning(target))

    return behave


def trickle(
    beginning: Callable[[Target], bytes], pieces: Callable[[], Iterable[bytes]], pause_s: float
) -> Behavior:
    """Return a behavior that sends pieces with pauses between them, after a beginning."""

    async def behave(target: Target, connection: socket.socket) -> None:
        await send(connection, beginning(target))
        for piece in pieces():
            await asyncio.sleep(pause_s)
            await send(connection, piece)

    return behave


def build_head(target: Target, path: str, *, media_type: str = JSON, length: int | None = None) -> bytes:
    """Return the head of a POST request; chunked without a length."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    key = f"X-API-Key: {target.key}\r\n" if target.key else ""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Content-Type: {media_type}\r\n{framing}\r\n\r\n".encode()


async def stay_silent(target: Target, connection: socket.socket) -> None:
    """Send nothing."""


def hold_back_last_byte(path: str, size: int, media_type: str = FORM) -> Behavior:
    """Return a behavior that sends a body of about a size in bytes, but not its last byte."""
    begin = build_form(b"")[: -len(f"\r\n--{BOUNDARY}--\r\n")] if media_type == FORM else b'{"points": ['
    piece = b"0," * 2**19
    pieces = (size - len(begin)) // len(piece)

    async def behave(target: Target, connection: socket.socket) -> None:
        length = len(begin) + pieces * len(piece) + 1
        await send(connection, build_head(target, path, media_type=media_type, length=length) + begin)
        for _ in range(pieces):
            await send(connection, piece)

    return behave
