"""The application factory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.auth.access import Access
from app.http.batch_folder import remove_abandoned_folders
from app.http.browser_protection import ForeignOriginMiddleware, TrustedHostMiddleware
from app.http.connections import ConnectionLimits, OpenConnections
from app.http.dependencies import Service
from app.http.middleware import (
    DrainBodyMiddleware,
    EncodedPathMiddleware,
    HeadMiddleware,
    InternalErrorMiddleware,
    RequestMiddleware,
)
from app.http.openapi import DocumentedApp
from app.http.problem_details import add_error_handlers
from app.http.routes import batch, inspect, pages, predict, service, structures
from app.observability.metrics import Metrics
from app.services.search_index import SearchIndex, get_software_version
from app.settings import Settings
from app.workers.dispatcher import Dispatcher
from app.workers.interfaces import Worker
from app.workers.launcher_process import Launcher
from app.workers.pool import ProcessWorker
from app.workers.thread_worker import ThreadWorker

DESCRIPTION = (
    "Send the electron diffraction pattern of a two-dimensional crystal; get a ranked list of the crystals that could "
    "have produced it, each as CIF."
)


def create_app(settings: Settings, index: SearchIndex | None = None) -> FastAPI:
    """Create the application.

    Args:
        settings: the settings of the service.
        index: an open index, for tests: jobs are computed in threads of this process, and the index stays open.
            Without one, worker processes open the model and the index of the settings when the service starts, and the
            start fails if they cannot.

    Raises:
        OptionError: the key file cannot be used.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        remove_abandoned_folders()
        workers = create_workers(settings) if index is None else _create_threads(settings, index)
        dispatcher = Dispatcher(workers, settings.queue, settings.queue_bytes, settings.deadline_s, metrics)
        metrics.watch_workers(lambda: [worker.pid for worker in workers])
        metrics.watch_queue(lambda: len(dispatcher.waiting))
        metrics.watch_running_workers(lambda: dispatcher.running_workers)
        app.state.connections.fills_queue = dispatcher.waiting.is_full_of
        provenance = await dispatcher.start()
        app.state.service = Service(settings, dispatcher, metrics, provenance)
        app.state.access.log_policy(settings)
        try:
            yield
        finally:
            await dispatcher.close()

    app = DocumentedApp(
        title="dd2d-server",
        summary="Identifies two-dimensional crystals from one diffraction pattern.",
        description=DESCRIPTION,
        version=get_software_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.metrics = metrics
    app.state.connections = OpenConnections(ConnectionLimits.from_settings(settings))
    metrics.watch_connections(lambda: len(app.state.connections))
    app.state.access = Access.from_settings(settings)
    _add_middleware(app, settings, metrics)
    add_error_handlers(app)
    for module in (predict, batch, inspect, structures, service, pages):
        app.include_router(module.router)
    app.mount("/static", pages.RevalidatedFiles(directory=pages.WEB), name="static")
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Add the middleware from the inside out: a response to an internal error gets the headers of all others too."""
    app.add_middleware(EncodedPathMiddleware)
    app.add_middleware(InternalErrorMiddleware)
    app.add_middleware(ForeignOriginMiddleware, allowed_origins=settings.cors_origins or ())
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
    app.add_middleware(HeadMiddleware)
    app.add_middleware(RequestMiddleware, metrics=metrics)
    app.add_middleware(DrainBodyMiddleware)


def create_workers(settings: Settings) -> list[Worker]:
    """Return the worker processes that the settings require, not yet started."""
    launcher = Launcher()
    return [ProcessWorker(settings, launcher) for _ in range(settings.workers)]


def _create_threads(settings: Settings, index: SearchIndex) -> list[Worker]:
    from app.workers.handlers import JobHandler

    handler = JobHandler(index, settings.calibrations)
    return [ThreadWorker(handler, handler.provenance) for _ in range(settings.workers)]
