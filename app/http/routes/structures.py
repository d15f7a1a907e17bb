"""The crystals of the library: read one, add and remove user structures."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Path
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import Response

from app.auth.access import require_role
from app.http.dependencies import NO_QUERY_OPTIONS, VARY, accepted_media_type, respond, run_job, upload
from app.http.openapi import ACCESS_PROBLEMS, UPLOAD_PROBLEMS, media_types, problems
from app.http.request_bodies import StructureForm, StructureObject, request_body
from app.presentation.formats import CIF, JSON
from app.presentation.schemas.structures import Structure, UserStructureSchema
from app.services.options import UserStructureOptions
from app.services.uploads import RequestBody
from app.workers.messages import AddStructureJob, RemoveStructureJob, StructureJob

router = APIRouter(responses=ACCESS_PROBLEMS)

READ, WRITE = require_role("read"), require_role("write")
_LOCATION = {"Location": {"description": "Path of the structure.", "schema": {"type": "string"}}}

# `EncodedPathMiddleware` leaves these paths percent-encoded until they have been matched.
StructureId = Annotated[
    str,
    Path(description="Id from an answer, percent-encoded, including its slashes."),
    AfterValidator(unquote),
]


class CifResponse(Response):
    """A structure as CIF."""

    media_type = CIF


@router.get(
    "/structures/{id:path}/cif",
    summary="Get a crystal as CIF",
    response_class=CifResponse,
    response_description="The crystal as CIF.",
    responses=problems(404, 503),
    dependencies=[READ],
)
async def get_structure_cif(request: Request, id: StructureId) -> Response:
    """Return only the CIF."""
    reply = await run_job(request, StructureJob(id=id, media_type=CIF))
    return CifResponse(reply.body, headers=VARY)


@router.get(
    "/structures/{id:path}",
    summary="Get a crystal",
    response_model=Structure,
    response_description="The crystal.",
    responses=media_types(CIF) | problems(404, 406, 503),
    dependencies=[READ],
)
async def get_structure(
    request: Request, id: StructureId, media_type: Annotated[str, accepted_media_type(JSON, CIF)]
) -> Response:
    """Return a crystal with its symmetry, license, reference and CIF."""
    return await respond(request, StructureJob(id=id, media_type=media_type))


@router.post(
    "/structures",
    summary="Add a user structure",
    status_code=201,
    response_model=UserStructureSchema,
    response_description="The structure was added.",
    responses={
        200: {
            "model": UserStructureSchema,
            "description": "The same structure already existed under this id.",
            "headers": _LOCATION,
        },
        201: {"headers": _LOCATION},
        **UPLOAD_PROBLEMS,
        **problems(409),
    },
    openapi_extra=request_body(UserStructureOptions, form=StructureForm, json=StructureObject),
    dependencies=[WRITE, NO_QUERY_OPTIONS],
)
async def add_structure(
    request: Request,
    media_type: Annotated[str, accepted_media_type(JSON)],
    body: Annotated[RequestBody, upload()],
) -> Response:
    """Send a CIF or POSCAR. When the response arrives, the structure is on disk and included in searches."""
    reply = await run_job(request, AddStructureJob(body=body, key_name=request.state.key_name))
    status = 201 if reply.created else 200
    return Response(reply.body, status, {"Location": reply.location}, media_type)


@router.delete(
    "/structures/{id:path}",
    summary="Remove a user structure",
    status_code=204,
    response_description="The structure was removed.",
    responses=problems(404, 409, 422, 503),
    dependencies=[WRITE, NO_QUERY_OPTIONS],
)
async def remove_structure(request: Request, id: StructureId) -> Response:
    """Remove a structure that a user added. Crystals of the index itself cannot be removed."""
    await run_job(request, RemoveStructureJob(id=id))
    return Response(status_code=204)
