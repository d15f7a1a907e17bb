"""`GET /structures/{id}` and `/structures/{id}/cif`: one crystal of the index."""

from urllib.parse import quote, unquote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.accept import choose_media_type
from app.http.openapi import CIF_RESPONSES, ID_PARAMETER, STRUCTURE_RESPONSES
from app.http.state import computed
from app.presentation.formats import CIF, JSON
from app.workers.messages import StructureJob

router = APIRouter()

_PREFIX = "/structures/"
_CIF_SUFFIX = "/cif"


@router.get(
    "/structures/{id}",
    summary="One crystal of the index",
    response_class=Response,
    responses=STRUCTURE_RESPONSES,
    openapi_extra={"parameters": [ID_PARAMETER]},
)
@router.get(
    "/structures/{id}/cif",
    summary="One crystal of the index as CIF",
    response_class=Response,
    responses=CIF_RESPONSES,
    openapi_extra={"parameters": [ID_PARAMETER]},
)
@router.get("/structures/{id:path}", include_in_schema=False)
async def get_structure(request: Request) -> Response:
    """Everything that is known of a crystal; ids may hold any character, percent-encoded."""
    id, as_cif = requested(request)
    media_type = CIF if as_cif else choose_media_type(request.headers.get("accept"), (JSON, CIF))
    reply = await computed(request, StructureJob(id=id, media_type=media_type))
    return Response(reply.body, headers={"Vary": "Accept"}, media_type=media_type)


def requested(request: Request, *, with_cif: bool = True) -> tuple[str, bool]:
    """The id in the path, and whether its CIF is wanted, if a route has that.

    The server decodes the path before it is matched, where an encoded slash of the id and the one before
    `cif` look alike; so the path is read as it was sent.
    """
    raw = request.scope.get("raw_path")
    root = request.scope.get("root_path", "")
    path = raw.decode("ascii", "replace") if raw else quote(request.scope["path"])
    path = path.removeprefix(quote(root)).removeprefix(_PREFIX)
    as_cif = with_cif and path.endswith(_CIF_SUFFIX)
    return unquote(path.removesuffix(_CIF_SUFFIX) if as_cif else path), as_cif
