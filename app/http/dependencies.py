"""FastAPI dependencies that the routes share: the service, the media type of the answer, and the body of the request.

FastAPI resolves the dependencies of a route in the order in which they are declared, those of its router and decorator
first. So a request is refused for its key, its query string or its Accept header before its body is read.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from app.errors import NotAcceptableError, QueueFullError
from app.http.read_body import read_body, save_files
from app.http.state import MAX_BATCHES, Service, get_service
from app.services.uploads import FormBody, JsonBody, SavedForm
from model.errors import OptionError

_MAX_NAMES = 5

VARY = {"Vary": "Accept"}
"""Header of every response whose media type was negotiated."""

ServiceDependency = Annotated[Service, Depends(get_service)]


async def reject_query_options(request: Request) -> None:
    """Refuse options in the query string, which would be ignored.

    Raises:
        OptionError: there is one.
    """
    if request.query_params:
        names = ", ".join(name[:60] for name in list(request.query_params)[:_MAX_NAMES])
        raise OptionError(
            f"Options are not accepted in the query string (found {names}); send them as form fields or JSON keys."
        )


NO_QUERY_OPTIONS = Depends(reject_query_options)


def accepted_media_type(*offered: str) -> Any:
    """Return a dependency that chooses the media type of the answer among those offered.

    Raises:
        NotAcceptableError: the Accept header excludes all of them.
    """

    async def choose(request: Request) -> str:
        return choose_media_type(request.headers.get("accept"), offered)

    return Depends(choose)


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Return the offered media type that an Accept header prefers, the first of equals.

    Raises:
        NotAcceptableError: the header excludes all of them.
    """
    if not accept or not accept.strip():
        return offered[0]
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    quality = {media_type: _quality(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: quality[media_type])
    if quality[best] <= 0:
        raise NotAcceptableError(
            f"None of the media types in Accept, {accept[:200]!r}, is available; accept {' or '.join(offered)}."
        )
    return best


def _parse_range(text: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in text.split(";"))
    weights = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
    try:
        return name, float(weights[0]) if weights else 1.0
    except ValueError:
        return name, 0.0


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that covers a media type (RFC 9110, 12.5.1)."""
    for name in (media_type, media_type.split("/")[0] + "/*", "*/*"):
        weights = [weight for range_name, weight in ranges if range_name == name]
        if weights:
            return max(weights)
    return 0.0


def upload(attachment_field: str = "", max_attachments: int = 0) -> Any:
    """Return a dependency that reads the body of a request, see `read_body`."""

    async def read(request: Request, service: ServiceDependency) -> JsonBody | FormBody:
        return await read_body(request, service.settings, attachment_field, max_attachments)

    return Depends(read)


async def _reserve_batch(service: ServiceDependency) -> AsyncIterator[None]:
    if service.batches.locked():
        raise QueueFullError(f"{MAX_BATCHES} batches are running; retry when one of them has ended.")
    async with service.batches:
        yield


async def _save_upload(
    request: Request, service: ServiceDependency, _reserved: Annotated[None, Depends(_reserve_batch)]
) -> AsyncIterator[SavedForm]:
    async with save_files(request, service.settings) as form:
        yield form


SavedUpload = Annotated[SavedForm, Depends(_save_upload)]
"""The files of a batch, on disk until the response has been sent."""
