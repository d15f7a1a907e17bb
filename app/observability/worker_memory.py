"""What the worker processes hold in memory, read from the system whenever a Prometheus server asks."""

import resource
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_PAGE_BYTES = resource.getpagesize()


class WorkerMemory(Collector):
    """A gauge with a value for each worker that is a process of its own.

    Args:
        pids: of the workers, each by its place; None for one that is no process, or none now.
    """

    def __init__(self, pids: Callable[[], Sequence[int | None]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The measurement of now."""
        family = GaugeMetricFamily(
            "dd2d_worker_resident_memory_bytes",
            "Resident memory of a worker process, without that of its readers.",
            labels=("worker",),
        )
        for place, pid in enumerate(self._pids()):
            resident = None if pid is None else resident_bytes(pid)
            if resident is not None:
                family.add_metric((str(place),), resident)
        yield family


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None where it has ended, or the system has no /proc."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * _PAGE_BYTES
