"""The report of a build: counts, times, and every entry that could not be used."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from index.sources.record import RejectedEntry

_MAX_REASON_LETTERS = 160


@dataclass(frozen=True)
class BuildReport:
    """The outcome of a build.

    Attributes:
        directory: the version that was published.
        digest: of the index, "sha256:...".
        crystals: rows of the index.
        groups: different crystals among them.
        rejected: number of entries that could not be used.
        reasons: number of rejected entries for each reason, digits blanked.
        renamed: crystals whose id was in use already and that got another one.
        sources: crystals by source.
        seconds: wall time by stage; "total" is that of all.
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
        """Number of crystals divided by the total time."""
        return self.crystals / max(self.seconds["total"], 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            **asdict(self),
            "directory": str(self.directory),
            "crystals_per_second": round(self.crystals_per_second, 1),
        }


def write_rejected(path: Path, rejected: list[RejectedEntry]) -> None:
    """Write a JSON object with name and reason for each rejected entry, one per line."""
    lines = (json.dumps(asdict(entry)) + "\n" for entry in rejected)
    path.write_text("".join(lines), encoding="utf-8")


def count_reasons(rejected: list[RejectedEntry]) -> dict[str, int]:
    """Return the number of entries for each reason, most frequent first; digits are masked."""
    reasons = (
        "".join("#" if letter.isdigit() else letter for letter in entry.reason)[:_MAX_REASON_LETTERS]
        for entry in rejected
    )
    return dict(Counter(reasons).most_common())
