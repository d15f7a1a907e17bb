"""`POST /predict`: a pattern in, crystals out."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import PREDICT_BODY, PREDICT_RESPONSES
from app.library import held, provenance_of
from app.negotiation import CIF, JSON, SVG, ZIP, preferred, written
from app.options import Options, refuse_query
from app.prediction import predict
from app.service import Service, request_id_of, service_of
from app.uploads import FormBody, JsonBody, read_body

router = APIRouter()


@router.post(
    "/predict",
    summary="Identify the crystal of a pattern",
    response_class=Response,
    responses=PREDICT_RESPONSES,
    openapi_extra={"requestBody": PREDICT_BODY},
)
async def post_predict(request: Request) -> Response:
    """Send a camera frame or a point cloud as the form field `file`, or points as JSON."""
    service = service_of(request)
    refuse_query(request.query_params)
    media_type = preferred(request.headers.get("accept"), (JSON, CIF, ZIP, SVG))
    body = await read_body(request, service.settings)
    content = await service.execution.run(
        partial(_computed, service, body, media_type, request_id_of(request))
    )
    headers = {"Vary": "Accept"}
    if media_type == ZIP:
        headers["Content-Disposition"] = 'attachment; filename="candidates.zip"'
    return Response(content, headers=headers, media_type=media_type)


def _computed(service: Service, body: JsonBody | FormBody, media_type: str, request_id: str) -> bytes:
    asked = body.parsed(Options)
    with held(service.library) as library:
        found = predict(
            library,
            provenance_of(library),
            asked.pattern,
            asked.options,
            request_id,
            service.settings.calibrations,
        )
    if found.overlays:
        service.overlays.keep(found.drawing_id, found.overlays)
    service.metrics.predicted(found.answer.timing_ms)
    return written(found, media_type)
