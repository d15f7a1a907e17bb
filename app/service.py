"""What a running service holds, and how a route reaches it."""

from dataclasses import dataclass, field

from starlette.requests import Request

from app.execution import Execution
from app.library import Library, held, provenance_of
from app.metrics import Metrics
from app.overlays import Overlays
from app.schemas import Provenance
from app.settings import Settings


@dataclass(frozen=True)
class Service:
    """The state of one application.

    Attributes:
        settings: of the process.
        execution: where requests are computed.
        library: the index with its model.
        metrics: what is measured.
        overlays: pictures of the last answers.
    """

    settings: Settings
    execution: Execution
    library: Library
    metrics: Metrics
    overlays: Overlays = field(default_factory=Overlays)

    @property
    def provenance(self) -> Provenance:
        """Of what is served now."""
        with held(self.library) as library:
            return provenance_of(library)


def service_of(request: Request) -> Service:
    """The service that a request has come to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def request_id_of(request: Request) -> str:
    """The id that the middleware gave or found."""
    return str(request.state.request_id)
