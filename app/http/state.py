"""What a running service holds, and how a route reaches it."""

import asyncio
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from app.observability.metrics import Metrics
from app.presentation.overlays import OverlayStore
from app.presentation.schemas.service import Provenance
from app.settings import Settings
from app.workers.dispatcher import Dispatcher
from app.workers.messages import (
    BodyReply,
    ImageCountReply,
    Job,
    PredictionReply,
    ProvenanceReply,
    Reply,
    ReplyT,
)

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
        shared_jobs: by their class, the running jobs that all who request them at once share.
    """

    settings: Settings
    dispatcher: Dispatcher
    metrics: Metrics
    provenance: Provenance
    overlays: OverlayStore = field(default_factory=OverlayStore)
    batches: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_BATCHES))
    shared_jobs: "dict[type, asyncio.Task[ProvenanceReply]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._measure_provenance()

    def note(self, reply: Reply) -> None:
        """Take in what a worker reports besides the body: measurements, overlays, provenance."""
        if isinstance(reply, PredictionReply):
            self.metrics.record_prediction(reply.timing_ms, reply.verdict)
            if reply.overlays is not None:
                self.overlays.add(reply.overlays)
        if not isinstance(reply, BodyReply | ImageCountReply) and reply.provenance != self.provenance:
            self.provenance = reply.provenance
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


async def computed(request: Request, job: Job[ReplyT], *, urgent: bool = False) -> ReplyT:
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
