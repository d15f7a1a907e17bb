"""How long each stage of a search takes."""

from time import perf_counter


class Timing:
    """A stop watch with a name for each lap."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._begun = perf_counter()

    def stop(self, name: str) -> None:
        """End a lap and begin the next."""
        now = perf_counter()
        self.milliseconds[name] = round(1000.0 * (now - self._begun), 3)
        self._begun = now
