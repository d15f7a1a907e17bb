"""`dd2d train` and `dd2d evaluate`, whose arguments and runs are those of `app.cli.training_runs`."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from model.crystal.crystal import Crystal


def add_to(commands: "Commands") -> None:
    """Declare both; their arguments are asked for when one of them is used."""
    train = commands.add_parser(
        "train", help="train towers", description="Train towers.", later=_add_train_arguments
    )
    train.set_defaults(run=run_train)
    evaluate = commands.add_parser(
        "evaluate",
        help="measure towers on held-out crystals",
        description="Measure towers on held-out crystals.",
        later=_add_evaluate_arguments,
    )
    evaluate.set_defaults(run=run_evaluate)


def _add_train_arguments(parser: argparse.ArgumentParser) -> None:
    from app.cli.training_runs import add_train_arguments

    add_train_arguments(parser)


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    from app.cli.training_runs import add_evaluate_arguments

    add_evaluate_arguments(parser)


def run_train(args: argparse.Namespace) -> int:
    """Train on the crystals of the sources."""
    from app.cli import training_runs as cli

    return cli.run_train(args, read_crystals)


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate on the crystals of the sources."""
    from app.cli import training_runs as cli

    return cli.run_evaluate(args, read_crystals)


def read_crystals(sources: Iterable[Path]) -> list["Crystal"]:
    """Every usable crystal of the sources, in order.

    Raises:
        OptionError: a source that does not exist.
    """
    from index.sources.recognition import read_crystals
    from index.sources.record import RejectedEntry

    found = (each for source in sources for each in read_crystals(source))
    return [each for each in found if not isinstance(each, RejectedEntry)]
