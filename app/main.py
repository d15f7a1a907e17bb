"""The application, made by a function of its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from app.documentation import Documented
from app.errors import add_error_handlers
from app.library import Library, software_version
from app.metrics import Metrics
from app.middleware import Envelope
from app.routes import batch, compare, health, inspect, overlays, pages, predict, replay, structures
from app.schemas import Provenance
from app.service import Service
from app.serving.dispatcher import Dispatcher, Worker
from app.serving.processes import ProcessWorker
from app.serving.threads import ThreadWorker
from app.settings import Settings

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
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workers = processes(settings) if retriever is None else _threads(settings, retriever)
        dispatcher = Dispatcher(workers, settings.queue, settings.deadline_s, metrics)
        serving = await dispatcher.start()
        app.state.service = Service(settings, dispatcher, metrics, Provenance(**serving))
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
    app.add_middleware(Envelope, metrics=metrics)
    add_error_handlers(app)
    for each in (
        predict.router,
        batch.router,
        replay.router,
        inspect.router,
        compare.router,
        overlays.router,
        structures.router,
        health.router,
        pages.router,
    ):
        app.include_router(each)
    app.mount("/static", StaticFiles(directory=pages.WEB), name="static")
    return app


def processes(settings: Settings) -> list[Worker]:
    """Worker processes, as many as the settings say, not yet started."""
    # A request that is past its deadline has been answered; who computes on after that has hung.
    return [ProcessWorker(settings, 2 * settings.deadline_s) for _ in range(settings.workers)]


def _threads(settings: Settings, library: Library) -> list[Worker]:
    from app.desk import Desk

    desk = Desk(library, settings.calibrations)
    return [ThreadWorker(desk, desk.serving()) for _ in range(settings.workers)]
