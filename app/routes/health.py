"""Whether the service lives, whether it can answer, and what it is made of."""

import asyncio
import logging
from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.documentation import METRICS_RESPONSES, NOT_READY_RESPONSES
from app.errors import NotReadyError
from app.library import ask_canary
from app.metrics import CONTENT_TYPE
from app.schemas import Alive, Provenance, Ready
from app.service import service_of
from model.errors import DomainError

logger = logging.getLogger(__name__)
router = APIRouter()


@router.get("/livez", summary="The process answers")
async def livez() -> Alive:
    """Answers at any load."""
    return Alive()


@router.get("/readyz", summary="Model and index answer", responses=NOT_READY_RESPONSES)
async def readyz(request: Request) -> Ready:
    """Searches a pattern of graphene, past the queue: a busy service is a ready one."""
    service = service_of(request)
    begun = perf_counter()
    try:
        await asyncio.to_thread(ask_canary, service.library)
    except DomainError:
        raise
    except Exception as error:  # whatever is broken, the answer to "are you ready?" is no
        logger.exception("the canary query failed")
        raise NotReadyError(
            "model and index do not answer a pattern of graphene; see the service's log"
        ) from error
    milliseconds = round(1000.0 * (perf_counter() - begun), 3)
    provenance = await asyncio.to_thread(lambda: service.provenance)
    return Ready(crystals=provenance.crystals, canary_ms=milliseconds)


@router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses=METRICS_RESPONSES,
)
async def metrics(request: Request) -> Response:
    """Requests by route and status, how long they and their stages took, and what is served."""
    service = service_of(request)
    service.metrics.serve(await asyncio.to_thread(lambda: service.provenance))
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/version", summary="Software, weights and index")
async def version(request: Request) -> Provenance:
    """What every answer states as its provenance."""
    service = service_of(request)
    # A look at the file of added structures, which another process may be writing to.
    return await asyncio.to_thread(lambda: service.provenance)
