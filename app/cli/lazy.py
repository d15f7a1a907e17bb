"""A parser that asks for its arguments only when it is used, so that no command waits for another's imports."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

AddArguments = Callable[[argparse.ArgumentParser], None]


class LazyParser(argparse.ArgumentParser):
    """An ArgumentParser with a function that adds its arguments at the first parse."""

    def __init__(self, *args: Any, later: AddArguments | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later = later

    # argparse types the namespace by overloads; whatever it is, it is passed through.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse, with the arguments in place."""
        if self._later is not None:
            later, self._later = self._later, None
            later(self)
        return super().parse_known_args(args, namespace)


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[LazyParser]
