"""The body of a request as it comes in, cut off where it is too long and given up where it comes to a halt."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

from starlette.requests import Request

from app.errors import StalledError
from app.settings import Settings
from model.errors import TooLargeError

# So much has to come in the time that the settings allow, so that a byte now and then is no way to stay.
STEP_BYTES = 64 * 1024

Limit = Literal["max_upload_bytes", "max_json_bytes", "max_batch_bytes"]


async def body_stream(request: Request, settings: Settings, limit: Limit) -> AsyncGenerator[bytes, None]:
    """The body's chunks.

    Args:
        request: whose body has not been read.
        settings: with the limits.
        limit: which of them is that of the whole body.

    Raises:
        TooLargeError: more is announced, or has come, than allowed.
        StalledError: too little came in the time that is allowed; what the reader takes for itself does not count.
        ClientDisconnect: the client has gone.
    """
    most = getattr(settings, limit)
    error = TooLargeError(f"the request is larger than {most} bytes, the limit set by DD2D_{limit.upper()}")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise error
    received = fresh = 0
    left_s = settings.stall_s
    chunks, clock = request.stream(), asyncio.get_running_loop().time
    while True:
        begun = clock()
        try:
            async with asyncio.timeout(left_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise StalledError(
                f"less than {STEP_BYTES} bytes of the request came in {settings.stall_s:g} seconds; send it again over "
                "a faster connection, or in smaller parts"
            ) from None
        if chunk is None:
            return
        received, fresh, left_s = received + len(chunk), fresh + len(chunk), left_s - (clock() - begun)
        if received > most:
            raise error
        if fresh >= STEP_BYTES:
            fresh, left_s = 0, settings.stall_s
        yield chunk
