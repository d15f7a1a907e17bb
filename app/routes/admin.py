"""`POST /admin/reload`: another version of the index, without a restart."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.additions import reload, version_of
from app.documentation import RELOAD_BODY, RELOAD_RESPONSES
from app.library import changing
from app.negotiation import JSON
from app.options import refuse_query
from app.service import Service, service_of
from app.uploads import JsonBody, read_body
from model.errors import UnknownFormatError

router = APIRouter()


@router.post(
    "/admin/reload",
    summary="Serve another version of the index",
    response_class=Response,
    responses=RELOAD_RESPONSES,
    openapi_extra={"requestBody": RELOAD_BODY},
)
async def post_reload(request: Request) -> Response:
    """Serves the version in use, which is noticed within a second without this too, or makes another one that."""
    service = service_of(request)
    refuse_query(request.query_params)
    content = await service.execution.run(partial(_reloaded, service, await _body(request, service)))
    return Response(content, media_type=JSON)


async def _body(request: Request, service: Service) -> JsonBody | None:
    if not request.headers.get("content-type"):
        return None
    body = await read_body(request, service.settings)
    if not isinstance(body, JsonBody):
        raise UnknownFormatError(
            'the request is a form; send {"version": NAME} as application/json, or nothing'
        )
    return body


def _reloaded(service: Service, body: JsonBody | None) -> str:
    return reload(changing(service.library), version_of(body)).model_dump_json()
