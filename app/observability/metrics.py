"""What a Prometheus server reads: requests by route and status, their stages, the queue, and what is served."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from starlette.types import Scope

from app.observability.worker_memory import WorkerMemory
from app.presentation.schemas import Provenance

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Whatever a client makes up must not become a label of its own.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_OTHER = "other"


class Metrics:
    """The measurements of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "dd2d_http_requests", "Requests answered.", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "dd2d_http_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            labels,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "dd2d_prediction_stage_seconds",
            "Stages of a prediction, as timing_ms names them.",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._crystals = Gauge("dd2d_index_crystals", "Crystals in the index.", registry=self._registry)
        self._build = Gauge(
            "dd2d_build_info", "1; the labels are the provenance.", ("version", "model", "index"),
            registry=self._registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "dd2d_queue_waiting", "Requests that wait for a worker.", registry=self._registry
        )
        self._together = Histogram(
            "dd2d_batch_size",
            "Requests that a worker takes together.",
            buckets=(1, 2, 3, 4),
            registry=self._registry,
        )
        self._lost = Counter(
            "dd2d_workers_lost", "Workers that ended by themselves or hung.", registry=self._registry
        )
        self._verdicts = Counter(
            "dd2d_verdicts", "Predictions by verdict.", ("verdict",), registry=self._registry
        )
        self._problems = Counter(
            "dd2d_problems",
            "Requests, and patterns of batches, that were refused or failed, by the problem's type.",
            ("type",),
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._pids: Callable[[], Sequence[int | None]] = tuple
        self._registry.register(WorkerMemory(lambda: self._pids()))

    def watch(self, pids: Callable[[], Sequence[int | None]]) -> None:
        """Measure the memory of these workers too, see `WorkerMemory`."""
        self._pids = pids

    def serve(self, provenance: Provenance) -> None:
        """State what is being served."""
        self._crystals.set(provenance.crystals)
        self._build.clear()  # of an index that was served before
        self._build.labels(provenance.version, provenance.model, provenance.index).set(1)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request, under the path of its route and never under that of its own."""
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        route = getattr(scope.get("route"), "path_format", _OTHER)
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def refused(self, problem: str) -> None:
        """Count a request, or a pattern of a batch, that a problem was the answer to."""
        self._problems.labels(problem).inc()

    def predicted(self, timing_ms: Mapping[str, float], verdict: str | None) -> None:
        """Record the stages of a prediction, and what it found."""
        self._verdicts.labels(verdict or "none").inc()
        for stage, milliseconds in timing_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000.0)

    def queued(self, waiting: int) -> None:
        """So many requests wait now."""
        self._waiting.set(waiting)

    def taken(self, together: int) -> None:
        """A worker has taken so many requests together."""
        self._together.observe(together)

    def lost(self) -> None:
        """A worker ended by itself, or hung."""
        self._lost.inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
