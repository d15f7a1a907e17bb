"""What a running service holds, and how a route reaches it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request

from app.observability.metrics import Metrics
from app.presentation.overlays import CandidateOverlays, OverlayStore
from app.presentation.schemas.service import Provenance
from app.settings import Settings
from app.workers.dispatcher import Dispatcher
from app.workers.messages import Job, Reply

# They share the workers, so that more at once end no sooner.
MOST_BATCHES = 2


@dataclass
class Service:
    """The state of one application.

    Attributes:
        settings: of the process.
        dispatcher: hands jobs to the workers.
        metrics: what is measured.
        provenance: of the answers; follows what the workers tell.
        overlays: pictures of the latest answers.
        batches: held by each, as its files take space on the disk.
        asked: by its kind, the last job that all who asked for it at once share.
    """

    settings: Settings
    dispatcher: Dispatcher
    metrics: Metrics
    provenance: Provenance
    overlays: OverlayStore = field(default_factory=OverlayStore)
    batches: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_BATCHES))
    asked: "dict[str, asyncio.Task[Reply]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._measure_provenance()

    def note(self, reply: Reply) -> None:
        """Take in what a worker tells beside the answer: measurements, pictures, what it serves."""
        told = reply.told
        if "timing_ms" in told:
            self.metrics.record_prediction(told["timing_ms"], told["verdict"])
        if "overlays" in told:
            self.overlays.add(CandidateOverlays.unpack(told["overlays"], reply.blobs[1]))
        if "serving" in told:
            self._serve(told["serving"])

    def _serve(self, serving: Mapping[str, Any]) -> None:
        provenance = Provenance(**serving)
        if provenance != self.provenance:
            self.provenance = provenance
            self._measure_provenance()

    def _measure_provenance(self) -> None:
        now = self.provenance
        self.metrics.set_provenance(now.version, now.model, now.index, now.crystals)


def service_of(request: Request) -> Service:
    """The service that a request has come to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def request_id_of(request: Request) -> str:
    """The id that the middleware gave or found."""
    return str(request.state.request_id)


async def computed(request: Request, job: Job, *, urgent: bool = False) -> Reply:
    """What a worker makes of a job; a client that leaves takes its job out of the queue.

    Raises:
        ClientDisconnect: nobody waits for the answer any more.
        DomainError: see `Dispatcher.run`.
    """
    service = service_of(request)
    work = asyncio.ensure_future(service.dispatcher.run(job, urgent=urgent))
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        reply = work.result()
    finally:
        work.cancel()
        left.cancel()
    service.note(reply)
    return reply


async def _left(request: Request) -> None:
    """Returns when the client has gone; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
