"""`POST /predict`: a pattern in, crystals out."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import PREDICT_BODY, PREDICT_RESPONSES
from app.negotiation import CIF, JSON, SVG, ZIP, preferred
from app.options import refuse_query
from app.service import computed, request_id_of, service_of
from app.uploads import read_body, upload_job

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
    reply = await computed(request, upload_job("predict", body, media_type, request_id_of(request)))
    headers = {"Vary": "Accept"}
    if media_type == ZIP:
        headers["Content-Disposition"] = 'attachment; filename="candidates.zip"'
    return Response(reply.blobs[0], headers=headers, media_type=media_type)
