"""`GET /overlays/{overlay_id}/{rank}`: a candidate drawn over its frame."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.accept import choose_media_type
from app.http.openapi import OVERLAY_RESPONSES
from app.http.state import service_of
from app.presentation.formats import PNG, SVG

router = APIRouter()


@router.get(
    "/overlays/{overlay_id}/{rank}",
    summary="A candidate drawn over its frame",
    response_class=Response,
    responses=OVERLAY_RESPONSES,
)
async def get_overlay(request: Request, overlay_id: str, rank: int) -> Response:
    """The link is `match.overlay` of an answer that was asked for with overlay=true."""
    service = service_of(request)
    media_type = choose_media_type(request.headers.get("accept"), (SVG, PNG))
    picture = service.overlays.find(overlay_id, rank)
    write = picture.write_png if media_type == PNG else lambda: picture.write_svg().encode()
    content = await asyncio.to_thread(write)
    return Response(content, headers={"Vary": "Accept"}, media_type=media_type)
