"""`POST /structures` and `DELETE /structures/{id}`: the library lives."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.additions import add_structure, address_of, asked_of, remove_structure, told
from app.documentation import ADD_BODY, ADD_RESPONSES, ID_PARAMETER, REMOVE_RESPONSES
from app.library import changing
from app.negotiation import JSON, preferred
from app.options import refuse_query
from app.routes.structures import requested
from app.service import Service, service_of
from app.uploads import FormBody, JsonBody, read_body

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
    refuse_query(request.query_params)
    preferred(request.headers.get("accept"), (JSON,))
    body = await read_body(request, service.settings)
    key_name = getattr(request.state, "key_name", None)
    status, address, content = await service.execution.run(partial(_added, service, body, key_name))
    return Response(content, status, {"Location": address}, JSON)


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
    service = service_of(request)
    refuse_query(request.query_params)
    id, _ = requested(request, with_cif=False)
    await service.execution.run(partial(_removed, service, id))
    return Response(status_code=204)


def _added(service: Service, body: JsonBody | FormBody, key_name: str | None) -> tuple[int, str, str]:
    added = add_structure(changing(service.library), asked_of(body), key_name)
    return 201 if added.is_new else 200, address_of(added.entry.id), told(added).model_dump_json()


def _removed(service: Service, id: str) -> None:
    remove_structure(changing(service.library), id)
