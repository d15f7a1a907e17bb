"""Attacks by what connections do: idle, slow, endless, unread, or many.

Each is a coroutine function of a target that counts what the attackers saw.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bench.attacks.occupation import (
    STALLED_BYTES,
    build_head,
    hold_back_last_byte,
    occupy,
    open_with,
    stay_silent,
    trickle,
)
from bench.attacks.requests import JSON, Target, build_json, exchange, flood, send
from bench.attacks.structures import MOS2_POINTS


async def nothing(target: Target) -> Counter[str]:
    """No attack: what the ordinary client sees on this machine."""
    await asyncio.sleep(target.remaining_s)
    return Counter()


async def idle(target: Target) -> Counter[str]:
    """200 connections of one address that send nothing."""
    return await occupy(target, 200, stay_silent)


async def idle_from_many_addresses(target: Target) -> Counter[str]:
    """1,200 connections of 300 addresses that send nothing."""
    return await occupy(target, 1200, stay_silent, addresses=300)


async def idle_after_a_request(target: Target) -> Counter[str]:
    """200 connections that stay open after an answered request."""
    return await occupy(target, 200, open_with(lambda _: b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))


async def half_open_headers(target: Target) -> Counter[str]:
    """200 requests whose headers do not end."""
    return await occupy(target, 200, open_with(lambda target: build_head(target, "/predict")[:-2]))


async def slow_headers(target: Target) -> Counter[str]:
    """200 requests whose headers arrive at a byte per second."""
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
    return await occupy(
        target, 200, trickle(lambda _: head, lambda: (b"a" for _ in range(10_000)), 1.0), addresses=20
    )


async def slow_bodies(target: Target) -> Counter[str]:
    """200 requests whose bodies arrive at a byte per second."""
    slow = trickle(
        lambda target: build_head(target, "/predict", length=10_000),
        lambda: (b"[" for _ in range(10_000)),
        1.0,
    )
    return await occupy(target, 200, slow, addresses=20)


async def bodies_without_their_last_byte(target: Target) -> Counter[str]:
    """30 forms of 64 MB of which the last byte does not come."""
    return await occupy(target, 30, hold_back_last_byte("/predict", 64_000_000), addresses=30)


async def json_without_its_last_byte(target: Target) -> Counter[str]:
    """100 JSON bodies of 16 MB of which the last byte does not come."""
    return await occupy(target, 100, hold_back_last_byte("/predict", 16_000_000, JSON), addresses=10)


async def batches_without_their_last_byte(target: Target) -> Counter[str]:
    """Four batches of 250 MB of which the last byte does not come."""
    return await occupy(target, 4, hold_back_last_byte("/predict/batch", 250_000_000), addresses=4)


async def one_byte_chunks(target: Target) -> Counter[str]:
    """Four bodies of a million chunks of a byte each."""
    piece = b"1\r\n[\r\n" * 10_000
    fast = trickle(lambda target: build_head(target, "/predict"), lambda: (piece for _ in range(100)), 0.0)
    return await occupy(target, 4, fast)


async def chunk_extensions(target: Target) -> Counter[str]:
    """Four bodies whose chunks have long extensions, and one whose size line does not end."""
    piece = b"1;" + b"a" * 4000 + b"\r\n[\r\n"
    fast = trickle(lambda target: build_head(target, "/predict"), lambda: (piece for _ in range(10_000)), 0.0)
    endless = trickle(
        lambda target: build_head(target, "/predict") + b"1;", lambda: (b"a" * 65536 for _ in range(2000)), 0
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

    return await occupy(target, 100, behave, receive_bytes=STALLED_BYTES, addresses=10)


async def pipelining(target: Target) -> Counter[str]:
    """Twenty connections with a thousand requests each in one piece."""
    lives = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
    body = build_json(points=MOS2_POINTS, effort="search")
    posts = (build_head(Target(0, target.key, 0), "/predict", length=len(body)) + body) * 200
    behaviors = (open_with(lambda _: lives), open_with(lambda _: posts))
    seen = await asyncio.gather(*(occupy(target, 10, behave) for behave in behaviors))
    return seen[0] + seen[1]


async def long_headers(target: Target) -> Counter[str]:
    """Headers of 60 kB, ten thousand headers, and a header without an end."""
    many = "".join(f"X-H{number}: a\r\n" for number in range(10_000)).encode()
    begin = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    endless = trickle(lambda _: begin + b"X-Endless: ", lambda: (b"a" * 65536 for _ in range(1000)), 0.0)
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
    endless = trickle(lambda _: b"GET /", lambda: (b"a" * 65536 for _ in range(1000)), 0.0)
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
            connection, random.choice((b"", build_head(target, "/predict", length=5_000_000) + b"[" * 50_000))
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
    head = open_with(
        lambda target: build_head(target, "/predict", length=64_000_000).replace(
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
