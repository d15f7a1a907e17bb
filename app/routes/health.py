"""Whether the service lives, whether it can answer, and what it is made of."""

import asyncio
from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import METRICS_RESPONSES, NOT_READY_RESPONSES
from app.errors import NotReadyError
from app.metrics import CONTENT_TYPE
from app.schemas import Alive, Provenance, Ready
from app.security.access import needs
from app.service import service_of
from app.serving.job import Job, Reply, UnforeseenError
from model.errors import DomainError

router = APIRouter()


@router.get("/livez", summary="The process answers")
async def livez() -> Alive:
    """Answers at any load."""
    return Alive()


@router.get("/readyz", summary="Model and index answer", responses=NOT_READY_RESPONSES)
async def readyz(request: Request) -> Ready:
    """Searches a pattern of graphene, before all that waits: a busy service is a ready one."""
    begun = perf_counter()
    try:
        reply = await asked_once(request)
    except DomainError:
        raise
    except UnforeseenError as error:  # whatever is broken, the answer to "are you ready?" is no
        raise NotReadyError(
            "model and index do not answer a pattern of graphene; see the service's log"
        ) from error
    milliseconds = round(1000.0 * (perf_counter() - begun), 3)
    return Ready(crystals=reply.told["serving"]["crystals"], canary_ms=milliseconds)


async def asked_once(request: Request) -> Reply:
    """One canary at a time, shared by all who ask meanwhile: the path needs no key, so it must cost little."""
    state, service = request.app.state, service_of(request)
    running: asyncio.Task[Reply] | None = getattr(state, "canary", None)
    if running is None or running.done():
        running = state.canary = asyncio.create_task(service.dispatcher.run(Job("canary"), urgent=True))
    reply = await asyncio.shield(running)
    service.note(reply)
    return reply


@router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses=METRICS_RESPONSES,
    dependencies=[needs("read", limited=False)],
)
async def metrics(request: Request) -> Response:
    """Requests by route and status, problems by type, how long all took, the queue, and what is served."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/version", summary="Software, weights and index")
async def version(request: Request) -> Provenance:
    """What every answer states as its provenance."""
    return service_of(request).provenance
