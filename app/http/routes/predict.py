"""`POST /predict`: a pattern in, crystals out."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.openapi import PREDICT_BODY, PREDICT_RESPONSES
from app.http.routes.answering import answered
from app.presentation.formats import CIF, JSON, SVG, ZIP

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
    response = await answered(request, "predict", (JSON, CIF, ZIP, SVG))
    if response.media_type == ZIP:
        response.headers["Content-Disposition"] = 'attachment; filename="candidates.zip"'
    return response
