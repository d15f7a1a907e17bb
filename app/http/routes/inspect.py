"""Inspect a pattern without searching the index: `POST /inspect` and `POST /compare`."""

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.auth.access import require_role
from app.http.dependencies import NO_QUERY_OPTIONS, accepted_media_type, respond, upload
from app.http.openapi import ACCESS_PROBLEMS, UPLOAD_PROBLEMS, media_types
from app.http.request_bodies import CompareForm, CompareObject, PatternForm, PatternObject, request_body
from app.presentation.formats import JSON, PNG, SVG
from app.presentation.schemas.compare import ComparisonSchema
from app.presentation.schemas.inspect import Inspection
from app.services.options import InspectOptions, ReadingOptions
from app.services.uploads import RequestBody
from app.workers.messages import CompareJob, InspectJob
from model.matching.compare import MAX_STRUCTURES

router = APIRouter(dependencies=[require_role("read")], responses=ACCESS_PROBLEMS)


@router.post(
    "/inspect",
    summary="Find the spots and the lattice of a pattern",
    response_model=Inspection,
    response_description="The pattern as the service interpreted it.",
    responses=media_types(SVG, PNG) | UPLOAD_PROBLEMS,
    openapi_extra=request_body(InspectOptions, form=PatternForm, json=PatternObject),
    dependencies=[NO_QUERY_OPTIONS],
)
async def inspect(
    request: Request,
    media_type: Annotated[str, accepted_media_type(JSON, SVG, PNG)],
    body: Annotated[RequestBody, upload()],
) -> Response:
    """Send a pattern as for `/predict`. The answer is JSON, or the frame with what was found drawn over it."""
    return await respond(request, InspectJob(body=body, media_type=media_type))


@router.post(
    "/compare",
    summary="Compare structures with a pattern",
    response_model=ComparisonSchema,
    response_description="The structures, the most likely first.",
    responses=media_types(SVG) | UPLOAD_PROBLEMS,
    openapi_extra=request_body(ReadingOptions, form=CompareForm, json=CompareObject),
    dependencies=[NO_QUERY_OPTIONS],
)
async def compare(
    request: Request,
    media_type: Annotated[str, accepted_media_type(JSON, SVG)],
    body: Annotated[RequestBody, upload("structures", MAX_STRUCTURES)],
) -> Response:
    """Send a pattern as for `/predict`, and two to twenty CIF or POSCAR files as `structures`."""
    return await respond(request, CompareJob(body=body, media_type=media_type))
