"""The application, made by a function of its settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.documentation import Documented
from app.errors import add_error_handlers
from app.execution import Execution
from app.library import Library, open_library, software_version
from app.metrics import Metrics
from app.middleware import Envelope
from app.routes import compare, health, inspect, overlays, pages, predict, structures
from app.service import Service
from app.settings import Settings

DESCRIPTION = (
    "Post the electron diffraction pattern of a two-dimensional crystal; get back the crystals that could have "
    "made it, ranked, as CIF."
)


def create_app(settings: Settings, retriever: Library | None = None) -> FastAPI:
    """The service.

    Args:
        settings: see `Settings`.
        retriever: an index that is open already, and stays so; without one, model and index of the settings
            are loaded when the service starts, and a start without them fails.
    """

    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        execution = Execution(settings.workers, settings.queue, settings.deadline_s)
        library = retriever
        if library is None:
            library = await asyncio.to_thread(open_library, settings)
        app.state.service = Service(settings, execution, library, metrics)
        try:
            yield
        finally:
            execution.close()
            if retriever is None:
                library.close()

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
        inspect.router,
        compare.router,
        overlays.router,
        structures.router,
        health.router,
        pages.router,
    ):
        app.include_router(each)
    app.mount("/static", pages.FreshFiles(directory=pages.WEB), name="static")
    return app
