"""The state of a running service, and how a route runs a job with it."""

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
        batches: limits the batches that run at once, whose files need space on disk.
        shared_jobs: the running jobs that simultaneous requests share, by class.
    """

    settings: Settings
    dispatcher: Dispatcher
    metrics: Metrics
    provenance: Provenance
    overlays: OverlayStore = field(default_factory=OverlayStore)
    batches: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_BATCHES))
    shared_jobs: "dict[type, asyncio.Task[ProvenanceReply]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._measure_provenance()

    def record_reply(self, reply: Reply) -> None:
        """Record what a worker reports besides the body: measurements, overlays and the provenance."""
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
    work = asyncio.ensure_future(service.dispatcher.run(job))
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


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
