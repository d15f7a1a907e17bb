"""Wall-clock time of the stages of a computation."""

from time import perf_counter


class Stopwatch:
    """Measures consecutive stages; the first one begins when the stopwatch is made."""

    def __init__(self) -> None:
        self._start = self._lap_start = perf_counter()
        self._seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End the current stage and begin the next; repeated stages add up."""
        now = perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._lap_start
        self._lap_start = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, to a tenth of a millisecond."""
        return {stage: round(seconds, 4) for stage, seconds in self._seconds.items()}

    @property
    def milliseconds(self) -> dict[str, float]:
        """Milliseconds of each stage, to the microsecond."""
        return {stage: round(1000.0 * seconds, 3) for stage, seconds in self._seconds.items()}

    @property
    def total_seconds(self) -> float:
        """Seconds since the stopwatch was made."""
        return perf_counter() - self._start

    @property
    def total_milliseconds(self) -> float:
        """Milliseconds since the stopwatch was made, to the microsecond."""
        return round(1000.0 * self.total_seconds, 3)
