"""The stopwatch divides the time into consecutive stages."""

import pytest

from model.stopwatch import Stopwatch


def test_stages_are_consecutive_and_repeated_ones_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 10.5, 12.0, 12.25, 15.0])
    monkeypatch.setattr("model.stopwatch.perf_counter", lambda: next(times))
    watch = Stopwatch()
    for stage in ("read", "search", "read"):
        watch.lap(stage)
    assert watch.seconds == {"read": 0.75, "search": 1.5}
    assert watch.milliseconds == {"read": 750.0, "search": 1500.0}
    assert watch.total_seconds == 5.0
