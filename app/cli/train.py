"""`dd2d train`: train towers on databases of crystals."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from model.crystal.crystal import Crystal


def add_command(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "train",
        help="train towers",
        description="Train a pair of towers on databases of crystals and write the best weights to OUT/towers. A tenth "
        "of the formulas is held out for validation and a tenth for tests.",
        epilog="Example: dd2d train --data c2db.db --out runs/first --minutes 60",
        add_arguments=_add_arguments,
    )
    parser.set_defaults(run=run)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from model.towers.contrastive import FORMS

    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, metavar="SOURCE", help="databases of crystals")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the training run")
    add("--resume", action="store_true", help="continue the training run in --out")
    add("--minutes", type=float, default=60.0, metavar="N", help="training time (default: 60)")
    add("--form", choices=FORMS, default="physics", help="architecture of the towers (default: physics)")
    add(
        "--start",
        type=Path,
        metavar="DIR",
        help="trained towers to continue from; they must have the same --seed and --hold-out, and their form replaces "
        "--form",
    )
    add(
        "--hold-out",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="JSON lists of crystals whose formulas are used only for tests",
    )
    add(
        "--regime",
        choices=["library", "paper"],
        default="library",
        help="train on patterns as instruments record them, or on those of the DD2D paper (default: library)",
    )
    add("--batch", type=int, default=192, metavar="N", help="crystals per step (default: 192)")
    add("--views", type=int, default=2, metavar="N", help="patterns of each crystal per step (default: 2)")
    add("--draws", type=int, default=24, metavar="N", help="simulated conditions per crystal (default: 24)")
    add("--rate", type=float, default=2e-3, metavar="X", help="peak learning rate (default: 0.002)")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the split, the weights and the noise (default: 0)",
    )
    add("--cache", type=Path, metavar="DIR", help="folder of the simulated patterns (default: OUT/cache)")


def run(args: argparse.Namespace) -> int:
    """Train, then print the folder of the towers."""
    from model.training.loop import check_run_folder
    from model.training.schedule import Schedule
    from model.training.split import read_held_out_formulas
    from model.training.train import train_towers

    check_run_folder(args.out, args.resume)  # before the sources are read
    schedule = Schedule(
        minutes=args.minutes,
        batch=args.batch,
        views=args.views,
        rate=args.rate,
        regime=args.regime,
        seed=args.seed,
    )
    towers = train_towers(
        read_sources(args.data),
        schedule,
        args.out,
        form=args.form,
        start=args.start,
        held_out=read_held_out_formulas(args.hold_out),
        draws=args.draws,
        cache=args.cache,
        resume=args.resume,
    )
    print(f"The best towers are in {towers}.")
    return 0


def read_sources(sources: Iterable[Path]) -> list["Crystal"]:
    """Read every usable crystal of the sources, in order.

    Raises:
        OptionError: a source does not exist.
    """
    from index.sources.recognition import read_crystals
    from index.sources.record import RejectedEntry

    entries = (entry for source in sources for entry in read_crystals(source))
    return [entry for entry in entries if not isinstance(entry, RejectedEntry)]
