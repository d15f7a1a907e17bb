"""`POST /compare`: which of the user's own structures made a pattern."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import COMPARE_BODY, COMPARE_RESPONSES
from app.negotiation import JSON, SVG, preferred
from app.options import refuse_query
from app.service import computed, request_id_of, service_of
from app.uploads import read_body, upload_job
from model.matching.comparison import MOST

router = APIRouter()


@router.post(
    "/compare",
    summary="Compare structures with a pattern",
    response_class=Response,
    responses=COMPARE_RESPONSES,
    openapi_extra={"requestBody": COMPARE_BODY},
)
async def post_compare(request: Request) -> Response:
    """Send a pattern as for /predict, and two to twenty CIF or POSCAR files as `structures`."""
    service = service_of(request)
    refuse_query(request.query_params)
    media_type = preferred(request.headers.get("accept"), (JSON, SVG))
    body = await read_body(request, service.settings, "structures", MOST)
    reply = await computed(request, upload_job("compare", body, media_type, request_id_of(request)))
    return Response(reply.blobs[0], headers={"Vary": "Accept"}, media_type=media_type)
