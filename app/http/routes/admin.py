"""`POST /admin/reload`: another version of the index, without a restart."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.dependencies import reject_query_options
from app.http.openapi import RELOAD_BODY, RELOAD_RESPONSES
from app.http.read_body import read_body
from app.http.state import Service, computed, service_of
from app.presentation.formats import JSON
from app.services.uploads import JsonBody
from app.workers.messages import ReloadJob
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
    reject_query_options(request)
    body = await _body(request, service)
    reply = await computed(request, ReloadJob(body=body))
    return Response(reply.body, media_type=JSON)


async def _body(request: Request, service: Service) -> JsonBody | None:
    if not request.headers.get("content-type"):
        return None
    body = await read_body(request, service.settings)
    if not isinstance(body, JsonBody):
        raise UnknownFormatError(
            'the request is a form; send {"version": NAME} as application/json, or nothing'
        )
    return body
