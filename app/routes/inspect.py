"""`POST /inspect`: what is seen in a pattern, without any search."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import INSPECT_BODY, INSPECT_RESPONSES
from app.negotiation import JSON, PNG, SVG, preferred
from app.options import refuse_query
from app.service import computed, request_id_of, service_of
from app.uploads import read_body, upload_job

router = APIRouter()


@router.post(
    "/inspect",
    summary="Look at a pattern",
    response_class=Response,
    responses=INSPECT_RESPONSES,
    openapi_extra={"requestBody": INSPECT_BODY},
)
async def post_inspect(request: Request) -> Response:
    """Send a pattern as for /predict: centre, spots, lattice and quality come back, or the frame with them drawn."""
    service = service_of(request)
    refuse_query(request.query_params)
    media_type = preferred(request.headers.get("accept"), (JSON, SVG, PNG))
    body = await read_body(request, service.settings)
    reply = await computed(request, upload_job("inspect", body, media_type, request_id_of(request)))
    return Response(reply.blobs[0], headers={"Vary": "Accept"}, media_type=media_type)
