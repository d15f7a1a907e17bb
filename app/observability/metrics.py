"""The Prometheus metrics: requests by route and status, prediction stages, the queue, memory, and what is served."""

import resource
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector
from starlette.types import Scope

from app.observability.container_memory import ContainerMemoryCollector

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A client must not be able to create labels.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_OTHER = "other"
_PAGE_BYTES = resource.getpagesize()

WorkerPids = Callable[[], Sequence[int | None]]


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "dd2d_http_requests", "Requests answered.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "dd2d_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            "method",
            "route",
        )
        self._stage_seconds = self._histogram(
            "dd2d_prediction_stage_seconds",
            "Duration of each stage of a prediction, as in timing_ms.",
            "stage",
        )
        self._crystals = self._gauge("dd2d_index_crystals", "Crystals in the index.")
        self._stale = self._gauge(
            "dd2d_user_structures_unreadable",
            "1 while the file of the user structures cannot be read and those read before are searched, otherwise 0.",
        )
        self._build = self._gauge(
            "dd2d_build_info", "Always 1; the labels give the provenance.", "version", "model", "index"
        )
        self._damaged = self._gauge(
            "dd2d_index_damaged",
            "1 while the model or the index is damaged and nothing is answered, otherwise 0.",
        )
        self._waiting = self._gauge("dd2d_queue_waiting", "Requests waiting for a worker.")
        self._connections = self._gauge("dd2d_http_connections", "Open connections.")
        self._running = self._gauge("dd2d_workers", "Workers that are running.")
        self._batch_size = self._histogram(
            "dd2d_batch_size", "Requests that a worker processes together.", buckets=(1, 2, 3, 4)
        )
        self._lost_workers = self._counter(
            "dd2d_workers_lost",
            "Workers that exited, or were ended together with a job: because of its deadline, because its client left, "
            "or because it was slow and held up quicker ones.",
            "reason",
        )
        self._verdicts = self._counter("dd2d_verdicts", "Predictions by verdict.", "verdict")
        self._problems = self._counter(
            "dd2d_problems",
            "Requests, and patterns of batches, that were refused or failed, by problem type.",
            "type",
        )
        ProcessCollector(registry=self._registry)
        self._worker_pids: WorkerPids = tuple
        self._registry.register(WorkerMemoryCollector(lambda: self._worker_pids()))
        self._registry.register(ContainerMemoryCollector())

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def watch_workers(self, pids: WorkerPids) -> None:
        """Report the memory of these worker processes too."""
        self._worker_pids = pids

    def watch_running_workers(self, count: Callable[[], int]) -> None:
        """Report how many workers are running, determined whenever the metrics are read."""
        self._running.set_function(count)

    def set_provenance(self, version: str, model: str, index: str, crystals: int) -> None:
        """Report which software, weights and index are served."""
        self._crystals.set(crystals)
        self._build.clear()  # drop the labels of the index served before
        self._build.labels(version, model, index).set(1)

    def record_staleness(self, is_stale: bool) -> None:
        """Record whether user structures were added or removed that cannot be read."""
        self._stale.set(is_stale)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Report the number of waiting requests, determined whenever the metrics are read."""
        self._waiting.set_function(length)

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Report the number of open connections, determined whenever the metrics are read."""
        self._connections.set_function(count)

    def record_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request under the path template of its route, never under its actual path."""
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        route = getattr(scope.get("route"), "path_format", _OTHER)
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def record_problem(self, name: str) -> None:
        """Count a request, or a pattern of a batch, that was answered with this problem type."""
        self._problems.labels(name).inc()

    def record_prediction(self, timing_ms: Mapping[str, float], verdict: str | None) -> None:
        """Record the stages and the verdict of a prediction."""
        self._verdicts.labels(verdict or "none").inc()
        for stage, milliseconds in timing_ms.items():
            self._stage_seconds.labels(stage).observe(milliseconds / 1000.0)

    def record_damage(self, is_damaged: bool) -> None:
        """Record whether the model or the index is damaged."""
        self._damaged.set(is_damaged)

    def record_batch(self, size: int) -> None:
        """Record how many requests a worker processed together."""
        self._batch_size.observe(size)

    def record_lost_worker(self, reason: str) -> None:
        """Count a worker that exited or was ended."""
        self._lost_workers.labels(reason).inc()

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._registry)


class WorkerMemoryCollector(Collector):
    """Reads the resident memory of each worker process whenever Prometheus scrapes.

    Args:
        pids: process id of each worker; None for one that is not running or is not a process of its own.
    """

    def __init__(self, pids: WorkerPids) -> None:
        self._pids = pids

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Measure now."""
        family = GaugeMetricFamily(
            "dd2d_worker_resident_memory_bytes",
            "Resident memory of a worker process, excluding its reader processes.",
            labels=("worker",),
        )
        for row, pid in enumerate(self._pids()):
            resident = None if pid is None else resident_bytes(pid)
            if resident is not None:
                family.add_metric((str(row),), resident)
        yield family


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process, or None if it has exited or the system has no /proc."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * _PAGE_BYTES
