"""How long each stage of a search takes."""

from time import perf_counter


def milliseconds(begun: float, ended: float) -> float:
    """Between two readings of `perf_counter`, to the microsecond."""
    return round(1000.0 * (ended - begun), 3)


class Timing:
    """A stop watch with a name for each lap."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._begun = perf_counter()

    def stop(self, name: str) -> None:
        """End a lap and begin the next."""
        now = perf_counter()
        self.milliseconds[name] = milliseconds(self._begun, now)
        self._begun = now
