"""A parser that declares its arguments only when used, so that no command waits for another's imports."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

AddArguments = Callable[[argparse.ArgumentParser], None]


class LazyParser(argparse.ArgumentParser):
    """An ArgumentParser that declares its remaining arguments when it first parses.

    Args:
        args: of ArgumentParser.
        add_arguments: declares the further arguments.
        kwargs: of ArgumentParser.
    """

    def __init__(self, *args: Any, add_arguments: AddArguments | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._add_arguments = add_arguments

    # typeshed overloads the method by the type of the namespace, which is passed through here.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Declare the remaining arguments, then parse like ArgumentParser."""
        if self._add_arguments is not None:
            add_arguments, self._add_arguments = self._add_arguments, None
            add_arguments(self)
        return super().parse_known_args(args, namespace)


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[LazyParser]
