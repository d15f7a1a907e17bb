"""Identify a crystal: `POST /predict`, `POST /replay`, and the overlays of an answer."""

import asyncio
from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.auth.access import require_role
from app.http.dependencies import (
    NO_QUERY_OPTIONS,
    VARY,
    ServiceDependency,
    accepted_media_type,
    respond,
    run_job,
    upload,
)
from app.http.openapi import ACCESS_PROBLEMS, UPLOAD_PROBLEMS, media_types, problems
from app.http.request_bodies import PatternForm, PatternObject, ReplayForm, ReplayObject, request_body
from app.presentation.formats import CIF, JSON, PNG, SVG, ZIP
from app.presentation.schemas.predict import Answer
from app.presentation.schemas.replay import Replay
from app.services.option_parsing import RequestOptions
from app.services.options import PredictOptions
from app.services.uploads import RequestBody
from app.workers.messages import PredictJob, ReplayJob

router = APIRouter(dependencies=[require_role("read")], responses=ACCESS_PROBLEMS)

# The workers serialize the answers, so the routes return bytes; their response models are for the documents.


@router.post(
    "/predict",
    summary="Identify the crystal of a pattern",
    response_model=Answer,
    response_description="The candidates, best first.",
    responses=media_types(CIF, ZIP, SVG) | UPLOAD_PROBLEMS,
    openapi_extra=request_body(PredictOptions, form=PatternForm, json=PatternObject),
    dependencies=[NO_QUERY_OPTIONS],
)
async def predict(
    request: Request,
    media_type: Annotated[str, accepted_media_type(JSON, CIF, ZIP, SVG)],
    body: Annotated[RequestBody, upload()],
) -> Response:
    """Send a camera frame or a file of points as the form field `file`, or points as JSON."""
    reply = await run_job(request, PredictJob(body=body, media_type=media_type))
    headers = {"Content-Disposition": 'attachment; filename="candidates.zip"'} if media_type == ZIP else {}
    return Response(reply.body, headers=VARY | headers, media_type=media_type)


@router.get(
    "/overlays/{overlay_id}/{rank}",
    summary="Get a candidate drawn over its frame",
    response_class=Response,
    response_description="The frame with its spots and the candidate's reflections.",
    responses=media_types(SVG, PNG) | problems(404, 406, 422, 503),
)
async def get_overlay(
    overlay_id: str,
    rank: int,
    media_type: Annotated[str, accepted_media_type(SVG, PNG)],
    service: ServiceDependency,
) -> Response:
    """With `overlay=true`, an answer gives the path of each overlay in `match.overlay`."""
    picture = service.overlays.find(overlay_id, rank)
    write = picture.write_png if media_type == PNG else lambda: picture.write_svg().encode()
    return Response(await asyncio.to_thread(write), headers=VARY, media_type=media_type)


@router.post(
    "/replay",
    summary="Compare a stored answer with the current one",
    response_model=Replay,
    response_description="Whether the answer would change, and how.",
    responses=UPLOAD_PROBLEMS,
    openapi_extra=request_body(RequestOptions, form=ReplayForm, json=ReplayObject),
    dependencies=[NO_QUERY_OPTIONS],
)
async def replay(
    request: Request,
    media_type: Annotated[str, accepted_media_type(JSON)],
    body: Annotated[RequestBody, upload("answer", 1)],
) -> Response:
    """Send a stored answer, and its pattern unless it was recorded."""
    return await respond(request, ReplayJob(body=body, media_type=media_type))
