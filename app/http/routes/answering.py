"""What the routes that take a pattern have in common: read it, let a worker compute, send what came of it."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from app.http.accept import choose_media_type
from app.http.dependencies import reject_query_options
from app.http.read_body import read_body
from app.http.state import computed, request_id_of, service_of
from app.services.uploads import FormBody, JsonBody
from app.workers.messages import Job


async def answered(
    request: Request, kind: str, offered: Sequence[str], attached: str = "", most_attached: int = 0
) -> Response:
    """A worker's answer to a request that comes with a body, in the form that its client likes best.

    Args:
        request: whose body has not been read.
        kind: which of the desk's works.
        offered: media types of the answer.
        attached: field of the files that may come beside the pattern.
        most_attached: how many of these.

    Raises:
        DomainError: the request cannot be answered; see `choose_media_type`, `read_body` and `computed`.
    """
    reject_query_options(request)
    media_type = choose_media_type(request.headers.get("accept"), offered)
    body = await read_body(request, service_of(request).settings, attached, most_attached)
    reply = await computed(request, _upload_job(kind, body, media_type, request_id_of(request)))
    return Response(reply.blobs[0], headers={"Vary": "Accept"}, media_type=media_type)


def _upload_job(kind: str, body: JsonBody | FormBody, media_type: str, request_id: str) -> Job:
    payload, blobs = body.packed()
    return Job(kind, {"body": payload, "media_type": media_type, "request_id": request_id}, blobs)
