"""The application, made by a function of its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.auth.access import Access, require_role
from app.http.middleware import (
    DrainBodyMiddleware,
    InternalErrorMiddleware,
    RequestMiddleware,
    TrustedHostMiddleware,
)
from app.http.openapi import ACCESS_RESPONSES, Documented
from app.http.problem_details import add_error_handlers
from app.http.routes import (
    admin,
    batch,
    compare,
    health,
    inspect,
    overlays,
    pages,
    predict,
    replay,
    structures,
)
from app.http.routes import user_structures as additions
from app.http.state import Service
from app.observability.metrics import Metrics
from app.services.library import Library, software_version
from app.settings import Settings
from app.workers.dispatcher import Dispatcher, Worker
from app.workers.pool import ProcessWorker, ThreadWorker

DESCRIPTION = (
    "Post the electron diffraction pattern of a two-dimensional crystal; get back the crystals that could have "
    "made it, ranked, as CIF."
)


def create_app(settings: Settings, retriever: Library | None = None) -> FastAPI:
    """The service.

    Args:
        settings: see `Settings`.
        retriever: an index that is open already, and stays so: requests are computed in threads of this process.
            Without one, worker processes open model and index of the settings when the service starts, and a
            start without them fails.

    Raises:
        OptionError: the key file cannot be used.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workers = processes(settings) if retriever is None else _threads(settings, retriever)
        dispatcher = Dispatcher(workers, settings.queue, settings.queue_bytes, settings.deadline_s, metrics)
        metrics.watch_workers(lambda: [worker.pid for worker in workers])
        provenance = await dispatcher.start()
        app.state.service = Service(settings, dispatcher, metrics, provenance)
        app.state.access.log_policy(settings)
        try:
            yield
        finally:
            await dispatcher.close()

    app = Documented(
        title="dd2d-server",
        summary="Identifies two-dimensional crystals from one diffraction pattern.",
        description=DESCRIPTION,
        version=software_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.access = Access.from_settings(settings)
    _add_middleware(app, settings, metrics)
    add_error_handlers(app)
    guarded = (
        predict.router,
        batch.router,
        replay.router,
        inspect.router,
        compare.router,
        overlays.router,
        structures.router,
    )
    for each in guarded:
        app.include_router(each, dependencies=[require_role("read")], responses=ACCESS_RESPONSES)
    app.include_router(additions.router, dependencies=[require_role("write")], responses=ACCESS_RESPONSES)
    app.include_router(admin.router, dependencies=[require_role("admin")], responses=ACCESS_RESPONSES)
    for each in (health.router, pages.router):
        app.include_router(each)
    app.mount("/static", pages.RevalidatedFiles(directory=pages.WEB), name="static")
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """From the inside out: unforeseen errors are answers before the headers of the others are put on them."""
    app.add_middleware(InternalErrorMiddleware)
    if settings.allowed_hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.allowed_hosts)
    if settings.cors_origins is not None:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "X-Request-ID", "Content-Type"],
            expose_headers=["Retry-After", "WWW-Authenticate", "X-Request-ID"],
        )
    app.add_middleware(RequestMiddleware, metrics=metrics)
    app.add_middleware(DrainBodyMiddleware)


def processes(settings: Settings) -> list[Worker]:
    """Worker processes, as many as the settings say, not yet started."""
    # A request that is past its deadline has been answered; who computes on after that has hung.
    return [ProcessWorker(settings, 2 * settings.deadline_s) for _ in range(settings.workers)]


def _threads(settings: Settings, library: Library) -> list[Worker]:
    from app.workers.handlers import JobHandler

    handler = JobHandler(library, settings.calibrations)
    return [ThreadWorker(handler, handler.provenance) for _ in range(settings.workers)]
