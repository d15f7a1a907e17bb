"""Shared by the routes: the running service and its jobs, the media type of the answer, and the body of the request.

FastAPI resolves the dependencies of a route in the order in which they are declared, those of its router and decorator
first. So a request is refused for its key, its query string or its Accept header before its body is read.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.errors import NotAcceptableError, QueueFullError
from app.http.body_budget import BodyBudget
from app.http.read_body import read_body
from app.http.save_files import save_files
from app.observability.metrics import Metrics
from app.presentation.overlays import OverlayStore
from app.presentation.schemas.service import Provenance
from app.services.uploads import FormBody, JsonBody, SavedForm
from app.settings import Settings
from app.workers.dispatcher import Dispatcher
from app.workers.messages import (
    BodyReply,
    ImageCountReply,
    Job,
    PatternJob,
    PredictionReply,
    ProvenanceReply,
    Reply,
    ReplyT,
    StructureJob,
)
from model.errors import OptionError

_MAX_NAMES = 5

VARY = {"Vary": "Accept"}
"""Header of every response whose media type was negotiated."""

# Batches share the workers, so more of them at once would not end sooner.
MAX_BATCHES = 2


@dataclass
class Service:
    """The state of one application.

    Attributes:
        settings: the settings of the process.
        dispatcher: hands jobs to the workers.
        metrics: the Prometheus metrics.
        provenance: what the answers are currently computed with, as the workers report it.
        overlays: the overlays of the latest answers.
        arriving_bodies: limits the bytes of the bodies that are arriving.
        batches: limits the batches that run at once, whose files need space on disk.
        shared_jobs: the running jobs that simultaneous requests share, by class.
    """

    settings: Settings
    dispatcher: Dispatcher
    metrics: Metrics
    provenance: Provenance
    overlays: OverlayStore = field(default_factory=OverlayStore)
    arriving_bodies: BodyBudget = field(init=False)
    batches: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_BATCHES))
    shared_jobs: "dict[type, asyncio.Task[ProvenanceReply]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits = self.settings
        self.arriving_bodies = BodyBudget(
            max(limits.body_bytes, limits.max_upload_bytes, limits.max_json_bytes)
        )
        self._measure_provenance()

    def record_reply(self, reply: Reply) -> None:
        """Record what a worker reports besides the body: measurements, overlays and the provenance."""
        if isinstance(reply, PredictionReply):
            self.metrics.record_prediction(reply.timing_ms, reply.verdict)
            if reply.overlays is not None:
                self.overlays.add(reply.overlays)
        if isinstance(reply, ProvenanceReply):
            self.metrics.record_staleness(reply.is_stale)
        if not isinstance(reply, BodyReply | ImageCountReply) and reply.provenance != self.provenance:
            self.provenance = reply.provenance
            self._measure_provenance()

    def _measure_provenance(self) -> None:
        now = self.provenance
        self.metrics.set_provenance(now.version, now.model, now.index, now.crystals)


async def get_service(request: Request) -> Service:
    """Return the service that received a request."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def run_job(request: Request, job: Job[ReplyT]) -> ReplyT:
    """Run a job for a request whose body has been read. If the client disconnects, the job is canceled.

    Raises:
        ClientDisconnect: the client has disconnected.
        DomainError: as `Dispatcher.run`.
    """
    service = await get_service(request)
    work = asyncio.ensure_future(service.dispatcher.run(job, client=name_client(request)))
    work.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # also if nobody waits for it any more
    disconnect = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({work, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        reply = work.result()
    finally:
        work.cancel()
        disconnect.cancel()
    service.record_reply(reply)
    return reply


async def respond(request: Request, job: PatternJob[BodyReply] | StructureJob) -> Response:
    """Run a job, and return the body that it makes in the media type that was negotiated."""
    reply = await run_job(request, job)
    return Response(reply.body, headers=VARY, media_type=job.media_type)


def name_client(request: Request) -> str:
    """Return who shares the workers with others: the name of the key or, without one, the address."""
    address = request.client.host if request.client else ""
    return str(getattr(request.state, "key_name", None) or address)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


ServiceDependency = Annotated[Service, Depends(get_service)]


async def reject_query_options(request: Request) -> None:
    """Reject options in the query string, which would be ignored.

    Raises:
        OptionError: there is one.
    """
    if request.query_params:
        names = ", ".join(name[:60] for name in list(request.query_params)[:_MAX_NAMES])
        raise OptionError(
            f"Options are not accepted in the query string (found {names}); send them as form fields or JSON keys."
        )


NO_QUERY_OPTIONS = Depends(reject_query_options)


def accepted_media_type(*offered: str) -> Any:
    """Return a dependency that chooses the media type of the answer among those offered.

    Raises:
        NotAcceptableError: the Accept header excludes all of them.
    """

    async def choose(request: Request) -> str:
        return choose_media_type(request.headers.get("accept"), offered)

    return Depends(choose)


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Return the offered media type that an Accept header prefers; of equally preferred ones, the first.

    Raises:
        NotAcceptableError: the header excludes all of them.
    """
    if not accept or not accept.strip():
        return offered[0]
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    quality = {media_type: _quality(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: quality[media_type])
    if quality[best] <= 0:
        raise NotAcceptableError(
            f"None of the media types in Accept, {accept[:200]!r}, is available; accept {' or '.join(offered)}."
        )
    return best


def _parse_range(text: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in text.split(";"))
    weights = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
    try:
        return name, float(weights[0]) if weights else 1.0
    except ValueError:
        return name, 0.0


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that covers a media type (RFC 9110, 12.5.1)."""
    for name in (media_type, media_type.split("/")[0] + "/*", "*/*"):
        weights = [weight for range_name, weight in ranges if range_name == name]
        if weights:
            return max(weights)
    return 0.0


def upload(attachment_field: str = "", max_attachments: int = 0) -> Any:
    """Return a dependency that reads the body of a request; see `read_body`."""

    async def read(request: Request, service: ServiceDependency) -> JsonBody | FormBody:
        return await read_body(
            request, service.settings, service.arriving_bodies, attachment_field, max_attachments
        )

    return Depends(read)


async def _reserve_batch(service: ServiceDependency) -> AsyncIterator[None]:
    if service.batches.locked():
        raise QueueFullError(f"{MAX_BATCHES} batches are running; retry when one of them has finished.")
    async with service.batches:
        yield


async def _save_upload(
    request: Request, service: ServiceDependency, _reserved: Annotated[None, Depends(_reserve_batch)]
) -> AsyncIterator[SavedForm]:
    async with save_files(request, service.settings) as form:
        yield form


SavedUpload = Annotated[SavedForm, Depends(_save_upload)]
"""The files of a batch, on disk until the response has been sent."""
