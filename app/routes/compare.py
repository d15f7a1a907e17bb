"""`POST /compare`: which of the user's own structures made a pattern."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.comparison import compare_upload
from app.documentation import COMPARE_BODY, COMPARE_RESPONSES
from app.negotiation import JSON, SVG, preferred
from app.options import ReadingOptions, refuse_query
from app.service import Service, request_id_of, service_of
from app.uploads import FormBody, JsonBody, read_body
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
    body = await read_body(request, service.settings, MOST)
    content = await service.execution.run(
        partial(_computed, service, body, media_type, request_id_of(request))
    )
    return Response(content, headers={"Vary": "Accept"}, media_type=media_type)


def _computed(service: Service, body: JsonBody | FormBody, media_type: str, request_id: str) -> str:
    asked = body.parsed(ReadingOptions, with_structures=True)
    compared = compare_upload(asked, request_id, service.provenance.version, service.settings.calibrations)
    return compared.drawn() if media_type == SVG else compared.answer.model_dump_json()
