"""`POST /inspect`: what is seen in a pattern, without any search."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import INSPECT_BODY, INSPECT_RESPONSES
from app.inspection import inspect_upload
from app.negotiation import JSON, PNG, SVG, preferred
from app.options import InspectOptions, refuse_query
from app.service import Service, request_id_of, service_of
from app.uploads import FormBody, JsonBody, read_body

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
    content = await service.execution.run(
        partial(_computed, service, body, media_type, request_id_of(request))
    )
    return Response(content, headers={"Vary": "Accept"}, media_type=media_type)


def _computed(service: Service, body: JsonBody | FormBody, media_type: str, request_id: str) -> bytes:
    found = inspect_upload(
        body.parsed(InspectOptions), request_id, service.provenance.version, service.settings.calibrations
    )
    if media_type == PNG:
        return found.png()
    return (found.svg() if media_type == SVG else found.answer.model_dump_json()).encode()
