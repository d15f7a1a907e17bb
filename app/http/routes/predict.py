"""`POST /predict`: a pattern in, crystals out."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.openapi import PREDICT_BODY, PREDICT_RESPONSES
from app.http.routes.answering import answer_pattern
from app.presentation.formats import CIF, JSON, SVG, ZIP
from app.workers.messages import PredictJob

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
    response = await answer_pattern(request, PredictJob, (JSON, CIF, ZIP, SVG))
    if response.media_type == ZIP:
        response.headers["Content-Disposition"] = 'attachment; filename="candidates.zip"'
    return response
