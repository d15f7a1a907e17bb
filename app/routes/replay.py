"""`POST /replay`: a stored answer, asked again."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import REPLAY_BODY, REPLAY_RESPONSES
from app.negotiation import JSON, preferred
from app.options import refuse_query
from app.service import computed, request_id_of, service_of
from app.uploads import read_body, upload_job

router = APIRouter()


@router.post(
    "/replay",
    summary="Ask again what was answered before",
    response_class=Response,
    responses=REPLAY_RESPONSES,
    openapi_extra={"requestBody": REPLAY_BODY},
)
async def post_replay(request: Request) -> Response:
    """Send a stored answer, and its pattern unless it was recorded; what would be different today comes back."""
    service = service_of(request)
    refuse_query(request.query_params)
    media_type = preferred(request.headers.get("accept"), (JSON,))
    body = await read_body(request, service.settings, "answer", 1)
    reply = await computed(request, upload_job("replay", body, media_type, request_id_of(request)))
    return Response(reply.blobs[0], headers={"Vary": "Accept"}, media_type=media_type)
