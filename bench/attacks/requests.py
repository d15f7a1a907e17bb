"""HTTP requests as bytes, sent over sockets of their own, so that an attacker costs next to no processor time."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

HOST = "127.0.0.1"
# Addresses of loopback: the attackers are not the address of the ordinary client.
ATTACKER = "127.0.0.2"
BOUNDARY = "dd2d-attack"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
NO_ANSWER = 0
_READ_BYTES = 2**16
_MAX_ANSWER_BYTES = 2**24


@dataclass(frozen=True)
class Target:
    """The service under attack.

    Attributes:
        port: its port on loopback.
        key: API key of the attacker; empty if the service has no keys.
        ends: end of the attack, by the monotonic clock.
    """

    port: int
    key: str
    ends: float

    @property
    def is_over(self) -> bool:
        """Whether the attack has ended."""
        return time.monotonic() >= self.ends

    @property
    def remaining_s(self) -> float:
        """Seconds until the end, at least a hundredth."""
        return max(self.ends - time.monotonic(), 0.01)

    async def connect(self, source: str = ATTACKER, receive_bytes: int | None = None) -> socket.socket:
        """Open a connection from an address of loopback; OSError if it is refused."""
        connection = socket.socket()
        try:
            connection.setblocking(False)
            if receive_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            connection.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(connection, (HOST, self.port))
        except BaseException:
            connection.close()
            raise
        return connection

    def build(
        self, method: str, path: str, body: bytes = b"", media_type: str = JSON, **headers: str
    ) -> bytes:
        """Return a whole request that asks to close the connection."""
        return build_request(method, path, body, media_type, self.key, headers)


def build_request(
    method: str, path: str, body: bytes, media_type: str, key: str, headers: Mapping[str, str]
) -> bytes:
    """Return a whole request; `headers` override those that every request has."""
    merged = {"Host": HOST, "Connection": "close", "Content-Length": str(len(body))}
    if body:
        merged["Content-Type"] = media_type
    if key:
        merged["X-API-Key"] = key
    merged |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in merged.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def build_form(
    file: bytes,
    fields: Mapping[str, str] | None = None,
    attachments: Sequence[bytes] = (),
    name: str = "structures",
) -> bytes:
    """Return a multipart body with a file, fields and attachments."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in (fields or {}).items()
    ]
    files = [("file", file), *((name, each) for each in attachments)]
    for field, content in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{field}"\r\n\r\n'
        parts += [head.encode(), content, b"\r\n"]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def build_json(**content: object) -> bytes:
    """Return a JSON body."""
    return json.dumps(content).encode()


async def send(connection: socket.socket, content: bytes) -> None:
    """Send bytes without copying them."""
    await asyncio.get_running_loop().sock_sendall(connection, memoryview(content))


async def read_answer(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    loop, answer = asyncio.get_running_loop(), bytearray()
    while piece := await loop.sock_recv(connection, _READ_BYTES):
        if len(answer) < _MAX_ANSWER_BYTES:
            answer += piece
    return bytes(answer)


def parse_status(answer: bytes) -> int:
    """Return the status of an answer, NO_ANSWER if it is none."""
    words = answer[:64].split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else NO_ANSWER


async def exchange(target: Target, request: bytes, source: str = ATTACKER, timeout_s: float = 40.0) -> int:
    """Send a request on a connection of its own and return the status; NO_ANSWER if the connection broke.

    What arrives before the request was sent whole counts as the answer.
    """
    try:
        async with asyncio.timeout(timeout_s):
            with await target.connect(source) as connection:
                with suppress(ConnectionError):  # refused before its end; the answer may still be there
                    await send(connection, request)
                return parse_status(await read_answer(connection))
    except (OSError, TimeoutError):
        return NO_ANSWER


async def flood(
    target: Target, requests: Sequence[bytes], clients: int, max_requests: int = 20_000, pause_s: float = 0.0
) -> Counter[str]:
    """Send requests in turn from several clients, each when its last one is answered; count the statuses."""
    answers: Counter[str] = Counter()
    turn = 0

    async def client() -> None:
        nonlocal turn
        while not target.is_over and turn < max_requests:
            request = requests[turn % len(requests)]
            turn += 1
            status = await exchange(target, request, timeout_s=target.remaining_s)
            answers[str(status) if status or not target.is_over else "unanswered at the end"] += 1
            if not status:
                await asyncio.sleep(0.05)
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers
