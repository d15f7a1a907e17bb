"""What the routes that take a pattern have in common: read the body, run the job, send the reply."""

from collections.abc import Sequence
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from app.http.accept import choose_media_type
from app.http.dependencies import reject_query_options
from app.http.read_body import read_body
from app.http.state import computed, service_of
from app.workers.messages import BodyReply, PatternJob, PredictionReply

PatternReply = TypeVar("PatternReply", PredictionReply, BodyReply)


async def answer_pattern(
    request: Request,
    job_class: type[PatternJob[PatternReply]],
    offered: Sequence[str],
    attachment_field: str = "",
    max_attachments: int = 0,
) -> Response:
    """Answer a request whose body has not been read.

    Args:
        request: the request.
        job_class: class of the job that answers it.
        offered: media types of the answer.
        attachment_field: form field of the files that may accompany the pattern.
        max_attachments: how many of them are allowed.

    Raises:
        DomainError: as `choose_media_type`, `read_body` and `computed`.
    """
    reject_query_options(request)
    media_type = choose_media_type(request.headers.get("accept"), offered)
    body = await read_body(request, service_of(request).settings, attachment_field, max_attachments)
    reply = await computed(request, job_class(body=body, media_type=media_type))
    return Response(reply.body, headers={"Vary": "Accept"}, media_type=media_type)
