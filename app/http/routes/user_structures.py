"""`POST /structures` and `DELETE /structures/{id}`: the library lives."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.accept import choose_media_type
from app.http.dependencies import reject_query_options
from app.http.openapi import ADD_BODY, ADD_RESPONSES, ID_PARAMETER, REMOVE_RESPONSES
from app.http.read_body import read_body
from app.http.routes.structures import requested
from app.http.state import computed, service_of
from app.presentation.formats import JSON
from app.workers.messages import AddStructureJob, RemoveStructureJob

router = APIRouter()


@router.post(
    "/structures",
    summary="Add a structure to the library",
    status_code=201,
    response_class=Response,
    responses=ADD_RESPONSES,
    openapi_extra={"requestBody": ADD_BODY},
)
async def post_structure(request: Request) -> Response:
    """Send a CIF or POSCAR; when the answer comes it is on the disk, and every search from then on can find it."""
    service = service_of(request)
    reject_query_options(request)
    choose_media_type(request.headers.get("accept"), (JSON,))
    body = await read_body(request, service.settings)
    job = AddStructureJob(body=body, key_name=getattr(request.state, "key_name", None))
    reply = await computed(request, job)
    return Response(reply.body, 201 if reply.created else 200, {"Location": reply.location}, JSON)


@router.delete(
    "/structures/{id}",
    summary="Remove a structure that was added",
    status_code=204,
    response_class=Response,
    responses=REMOVE_RESPONSES,
    openapi_extra={"parameters": [ID_PARAMETER]},
)
@router.delete("/structures/{id:path}", status_code=204, include_in_schema=False)
async def delete_structure(request: Request) -> Response:
    """Only what was added can be removed; to be rid of a crystal of the index, publish one without it."""
    reject_query_options(request)
    id, _ = requested(request, with_cif=False)
    await computed(request, RemoveStructureJob(id=id))
    return Response(status_code=204)
