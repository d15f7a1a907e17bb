"""`POST /compare`: which of the user's own structures made a pattern."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.openapi import COMPARE_BODY, COMPARE_RESPONSES
from app.http.routes.answering import answer_pattern
from app.presentation.formats import JSON, SVG
from app.workers.messages import CompareJob
from model.matching.compare import MAX_STRUCTURES

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
    return await answer_pattern(request, CompareJob, (JSON, SVG), "structures", MAX_STRUCTURES)
