"""The service itself: health, version, metrics, and the version of the index that is served."""

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.auth.access import require_role
from app.errors import DeadlineExceededError, InternalError, NotReadyError
from app.http.dependencies import NO_QUERY_OPTIONS, Service, ServiceDependency, run_job
from app.http.openapi import ACCESS_PROBLEMS, problems
from app.http.read_body import read_body
from app.http.request_bodies import ReloadObject, request_body
from app.observability.metrics import CONTENT_TYPE
from app.presentation.formats import JSON
from app.presentation.schemas.service import Liveness, Provenance, Readiness, ServedIndex
from app.services.options import ReloadOptions
from app.services.uploads import JsonBody
from app.workers.messages import CanaryJob, Job, ProvenanceJob, ProvenanceReply, ReloadJob
from model.errors import DomainError, UnknownFormatError
from model.stopwatch import Stopwatch

# A free worker reports within a millisecond.
MAX_VERSION_S = 1.0

# A free worker searches within some ten milliseconds, and one becomes free within little more than a second.
MAX_CANARY_S = 1.8

router = APIRouter()


@router.get("/livez", summary="Check that the process responds")
async def livez() -> Liveness:
    """Respond under any load."""
    return Liveness()


@router.get("/readyz", summary="Check that the model and the index work", responses=problems(503))
async def readyz(service: ServiceDependency) -> Readiness:
    """Search for a graphene pattern ahead of all waiting requests, so that a busy service still reports ready.

    One worker that answers is enough: lost ones are replaced.
    """
    watch = Stopwatch()
    workers = service.dispatcher.running_workers
    if workers == 0:
        raise NotReadyError("No worker is running at the moment; retry in a few seconds.")
    try:
        reply = await _run_shared(service, CanaryJob(), MAX_CANARY_S)
    except DeadlineExceededError as error:
        raise NotReadyError(
            "No worker answered a test search within two seconds; retry in a few seconds."
        ) from error
    except InternalError as error:
        raise NotReadyError(
            "The model or the index failed the test search with a graphene pattern; see the service's log."
        ) from error
    return Readiness(crystals=reply.provenance.crystals, canary_ms=watch.total_milliseconds, workers=workers)


@router.get("/version", summary="Get the versions of the software, the weights and the index")
async def version(service: ServiceDependency) -> Provenance:
    """Return the provenance of the answers; if no worker is free to report it, that of the last answer."""
    with suppress(DomainError, InternalError):
        await _run_shared(service, ProvenanceJob(), MAX_VERSION_S)
    return service.provenance


async def _run_shared(
    service: Service, job: Job[ProvenanceReply], deadline_s: float | None = None
) -> ProvenanceReply:
    """Run one job of its class at a time for all simultaneous requests: these paths need no key and must be cheap."""
    running = service.shared_jobs.get(type(job))
    if running is None or running.done():
        run = service.dispatcher.run(job, urgent=True, deadline_s=deadline_s)
        running = service.shared_jobs[type(job)] = asyncio.create_task(run)
    reply = await asyncio.shield(running)
    service.record_reply(reply)
    return reply


@router.get(
    "/metrics",
    summary="Get the metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="The metrics in the Prometheus text format.",
    responses=ACCESS_PROBLEMS,
    dependencies=[require_role("read", limited=False)],
)
async def metrics(service: ServiceDependency) -> Response:
    """Return requests, problems, latencies, the queue, memory, and what is served."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE)


async def _read_reload_body(request: Request, service: ServiceDependency) -> JsonBody | None:
    if not request.headers.get("content-type"):
        return None
    body = await read_body(request, service.settings, service.arriving_bodies)
    if not isinstance(body, JsonBody):
        raise UnknownFormatError(
            'The request is a form; send {"version": NAME} as application/json, or no body.'
        )
    return body


@router.post(
    "/admin/reload",
    summary="Switch to another version of the index",
    response_model=ServedIndex,
    response_description="The version that is now served.",
    responses=problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=request_body(ReloadOptions, json=ReloadObject, required=False),
    dependencies=[require_role("admin"), NO_QUERY_OPTIONS],
)
async def reload_index(
    request: Request, body: Annotated[JsonBody | None, Depends(_read_reload_body)]
) -> Response:
    """Serve the current version of the index immediately, not within a second, or make another version current."""
    reply = await run_job(request, ReloadJob(body=body))
    return Response(reply.body, media_type=JSON)
