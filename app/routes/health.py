"""Whether the service lives, whether it can answer, and what it is made of."""

from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import METRICS_RESPONSES, NOT_READY_RESPONSES
from app.errors import NotReadyError
from app.metrics import CONTENT_TYPE
from app.schemas import Alive, Provenance, Ready
from app.service import computed, service_of
from app.serving.job import Job, UnforeseenError
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
        reply = await computed(request, Job("canary"), urgent=True)
    except DomainError:
        raise
    except UnforeseenError as error:  # whatever is broken, the answer to "are you ready?" is no
        raise NotReadyError(
            "model and index do not answer a pattern of graphene; see the service's log"
        ) from error
    milliseconds = round(1000.0 * (perf_counter() - begun), 3)
    return Ready(crystals=reply.told["serving"]["crystals"], canary_ms=milliseconds)


@router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses=METRICS_RESPONSES,
)
async def metrics(request: Request) -> Response:
    """Requests by route and status, how long they and their stages took, and what is served."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/version", summary="Software, weights and index")
async def version(request: Request) -> Provenance:
    """What every answer states as its provenance."""
    return service_of(request).provenance
