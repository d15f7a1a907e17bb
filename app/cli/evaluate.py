"""`dd2d evaluate`: measure the accuracy of towers on the crystals that their training held out."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.train import read_sources

if TYPE_CHECKING:
    from app.cli.lazy import Commands


def add_command(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure the accuracy of towers on held-out crystals",
        description="Simulate patterns of the crystals that the training held out, and count how often the towers rank "
        "the right crystal first, among the first three, and so on. Print the result as a table and as JSON.",
        epilog="Example: dd2d evaluate --data c2db.db --model runs/first/towers --tilt 3",
    )
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, metavar="SOURCE", help="databases of crystals")
    add("--model", type=Path, metavar="DIR", help="folder of trained towers (default: the shipped ones)")
    add(
        "--protocol",
        choices=["library", "clean", "paper"],
        default="library",
        help="patterns as instruments record them, ideal patterns, or the protocol of the DD2D paper (default: "
        "library)",
    )
    add("--tilt", type=float, default=0.0, metavar="N", help="largest tilt in degrees (default: 0)")
    add("--source", metavar="NAME", help="only sources whose names start with this, such as 2dmatpedia")
    add("--seed", type=int, default=0, metavar="N", help="seed of the noise (default: 0)")
    add("--out", type=Path, metavar="FILE", help="also write the JSON to this file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the accuracies as a table and as JSON."""
    from model.towers.checkpoint import load_towers
    from model.training.evaluation import evaluate_towers, format_table

    towers = load_towers(args.model)
    rows = evaluate_towers(
        towers,
        read_sources(args.data),
        args.protocol,
        max_tilt_deg=args.tilt,
        source=args.source,
        seed=args.seed,
    )
    report = {"protocol": args.protocol, "tilt_deg": args.tilt, "model": towers.digest, "form": towers.form}
    text = json.dumps(report | {"rows": [row.to_json() for row in rows]})
    print(format_table(rows))
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n")
    return 0
