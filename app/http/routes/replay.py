"""`POST /replay`: a stored answer, asked again."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.openapi import REPLAY_BODY, REPLAY_RESPONSES
from app.http.routes.answering import answer_pattern
from app.presentation.formats import JSON
from app.workers.messages import ReplayJob

router = APIRouter()


@router.post(
    "/replay",
    summary="Ask again what was answered before",
    response_class=Response,
    responses=REPLAY_RESPONSES,
    openapi_extra={"requestBody": REPLAY_BODY},
)
async def post_replay(request: Request) -> Response:
    """Send a stored answer, and its pattern unless it was recorded; what would be different today comes back."""
    return await answer_pattern(request, ReplayJob, (JSON,), "answer", 1)
