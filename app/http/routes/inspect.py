"""`POST /inspect`: what is seen in a pattern, without any search."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.openapi import INSPECT_BODY, INSPECT_RESPONSES
from app.http.routes.answering import answer_pattern
from app.presentation.formats import JSON, PNG, SVG
from app.workers.messages import InspectJob

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
    return await answer_pattern(request, InspectJob, (JSON, SVG, PNG))
