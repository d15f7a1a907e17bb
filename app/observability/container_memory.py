"""The memory that a container may use and uses, from its control group (version 2 of Linux)."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

# The control group of a container is the root of what it sees.
_CONTROL_GROUP = Path("/sys/fs/cgroup")


class ContainerMemoryCollector(Collector):
    """Reads both figures whenever Prometheus scrapes; without a limit there is no sample.

    Args:
        control_group: folder of the control group.
    """

    def __init__(self, control_group: Path = _CONTROL_GROUP) -> None:
        self._control_group = control_group

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Read the figures now."""
        limit = GaugeMetricFamily("dd2d_memory_limit_bytes", "Memory that the container may use.")
        used = GaugeMetricFamily(
            "dd2d_memory_used_bytes",
            "Memory that the container uses, with the files in its /tmp, without the file cache that can be dropped.",
        )
        with suppress(OSError, ValueError):  # no container, or no limit
            limit_bytes, used_bytes = int(self._read("memory.max")), self._measure_used_bytes()
            limit.add_metric((), limit_bytes)
            used.add_metric((), used_bytes)
        yield from (limit, used)

    def _measure_used_bytes(self) -> int:
        inactive_cache = re.findall(r"^inactive_file (\d+)$", self._read("memory.stat"), flags=re.MULTILINE)
        return int(self._read("memory.current")) - sum(map(int, inactive_cache))

    def _read(self, name: str) -> str:
        return (self._control_group / name).read_text(encoding="ascii")
