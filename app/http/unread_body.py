"""What is left of the body of a request that was refused while it came in."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_S = 10.0


class ReadToTheEnd:
    """Takes in and forgets what a client still sends when its answer is out, for a while.

    A connection that is closed while its client sends is reset, and the client that looks for the answer only after
    its last byte, as Python's own does, reads "connection reset" in place of what was wrong. uvicorn does this by
    itself where the connection is kept.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not _sends_regardless(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        ended = False

        async def receive_noting() -> Message:
            nonlocal ended
            message = await receive()
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def send_then_read(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False) or ended:
                await send(message)
                return
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(LONGEST_S):
                    while not ended:
                        await receive_noting()
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, receive_noting, send_then_read)


def _sends_regardless(headers: Headers) -> bool:
    """Whether the client closes after the answer, and did not ask first whether it should send."""
    return headers.get("connection", "").lower() == "close" and "expect" not in headers
