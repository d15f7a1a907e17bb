"""What a build did: counts, times, and every entry it could not use."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from index.sources.record import RejectedEntry


@dataclass(frozen=True)
class BuildReport:
    """The outcome of a build.

    Attributes:
        directory: the version that was published.
        digest: names the index, "sha256:...".
        crystals: rows of the index.
        groups: different crystals among them.
        rejected: entries that could not be used.
        reasons: how many of them for which reason, numbers left out of it.
        renamed: crystals whose id was taken and that were given another.
        sources: crystals by source.
        seconds: wall time by stage; "total" is all.
    """

    directory: Path
    digest: str
    crystals: int
    groups: int
    rejected: int
    reasons: dict[str, int]
    renamed: int
    sources: dict[str, int]
    seconds: dict[str, float]

    @property
    def crystals_per_second(self) -> float:
        """Everything included."""
        return self.crystals / max(self.seconds["total"], 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "directory": str(self.directory),
            "crystals_per_second": round(self.crystals_per_second, 1),
        }


class Stopwatch:
    """Wall time by stage."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + perf_counter() - begun

    @property
    def seconds(self) -> dict[str, float]:
        """Stage to seconds, and "total" since the stopwatch was made."""
        times = {name: round(value, 4) for name, value in self._seconds.items()}
        return {**times, "total": round(perf_counter() - self._started, 4)}


def write_rejected(path: Path, rejected: list[RejectedEntry]) -> None:
    """One JSON object a line: name and reason."""
    lines = (json.dumps(asdict(each)) + "\n" for each in rejected)
    path.write_text("".join(lines), encoding="utf-8")


def reasons(rejected: list[RejectedEntry]) -> dict[str, int]:
    """How many entries for each reason, most frequent first, with digits blanked so that like adds to like."""
    kinds = Counter("".join("#" if c.isdigit() else c for c in each.reason)[:160] for each in rejected)
    return dict(kinds.most_common())
