"""`GET /overlays/{drawing_id}/{rank}`: a candidate drawn over its frame."""

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
    "/overlays/{drawing_id}/{rank}",
    summary="A candidate drawn over its frame",
    response_class=Response,
    responses=OVERLAY_RESPONSES,
)
async def get_overlay(request: Request, drawing_id: str, rank: int) -> Response:
    """The link is `match.overlay` of an answer that was asked for with overlay=true."""
    service = service_of(request)
    media_type = choose_media_type(request.headers.get("accept"), (SVG, PNG))
    picture = service.overlays.picture(drawing_id, rank)
    drawn = picture.png if media_type == PNG else lambda: picture.svg().encode()
    content = await asyncio.to_thread(drawn)
    return Response(content, headers={"Vary": "Accept"}, media_type=media_type)
