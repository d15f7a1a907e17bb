"""Whether the service lives, whether it can answer, and what it is made of."""

import asyncio
from contextlib import suppress

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.auth.access import require_role
from app.errors import InternalError, NotReadyError
from app.http.openapi import METRICS_RESPONSES, NOT_READY_RESPONSES
from app.http.state import service_of
from app.observability.metrics import CONTENT_TYPE
from app.presentation.schemas.service import Liveness, Provenance, Readiness
from app.workers.messages import CanaryJob, Job, ProvenanceJob, ProvenanceReply
from model.errors import DomainError
from model.stopwatch import Stopwatch

# A worker that is free tells it in a millisecond.
LONGEST_VERSION_S = 1.0

router = APIRouter()


@router.get("/livez", summary="The process answers")
async def livez() -> Liveness:
    """Answers at any load."""
    return Liveness()


@router.get("/readyz", summary="Model and index answer", responses=NOT_READY_RESPONSES)
async def readyz(request: Request) -> Readiness:
    """Searches a pattern of graphene, before all that waits: a busy service is a ready one."""
    watch = Stopwatch()
    try:
        reply = await _run_shared(request, CanaryJob())
    except DomainError:
        raise
    except InternalError as error:  # whatever is broken, the answer to "are you ready?" is no
        raise NotReadyError(
            "model and index do not answer a pattern of graphene; see the service's log"
        ) from error
    return Readiness(crystals=reply.provenance.crystals, canary_ms=watch.total_milliseconds)


async def _run_shared(
    request: Request, job: Job[ProvenanceReply], deadline_s: float | None = None
) -> ProvenanceReply:
    """Run one job of its class at a time, shared by all requests meanwhile: the paths need no key and must be cheap."""
    service = service_of(request)
    running = service.shared_jobs.get(type(job))
    if running is None or running.done():
        run = service.dispatcher.run(job, urgent=True, deadline_s=deadline_s)
        running = service.shared_jobs[type(job)] = asyncio.create_task(run)
    reply = await asyncio.shield(running)
    service.note(reply)
    return reply


@router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses=METRICS_RESPONSES,
    dependencies=[require_role("read", limited=False)],
)
async def metrics(request: Request) -> Response:
    """Requests by route and status, problems by type, how long all took, the queue, and what is served."""
    return Response(service_of(request).metrics.render(), media_type=CONTENT_TYPE)


@router.get("/version", summary="Software, weights and index")
async def version(request: Request) -> Provenance:
    """What every answer states as its provenance; where no worker is free to tell, as the last answer stated it."""
    with suppress(DomainError, InternalError):
        await _run_shared(request, ProvenanceJob(), LONGEST_VERSION_S)
    return service_of(request).provenance
