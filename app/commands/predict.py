"""`dd2d predict`: the crystals of one pattern, without a server."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.options import ALL, add_options

if TYPE_CHECKING:
    from app.commands.lazy import Commands
    from app.schemas import Answer

_ROW = "{:>4}  {:<16} {:>10} {:>6} {:>6} {:>6}  {:<14} {}"


def add_to(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "predict",
        help="identify one pattern",
        description="Identify the crystal of one pattern. What is assumed is told on standard error.",
        epilog="Example: dd2d predict frame.tif --pixel-size 0.005 --elements-only Mo,S",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="camera frame, or points (JSON, CSV, text)")
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="index to search (DD2D_INDEX, indexes/starter)"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="trained towers (DD2D_MODEL, the shipped ones)"
    )
    add_options(parser, ALL)
    parser.add_argument(
        "--format", choices=["json", "cif", "svg", "table"], default="table", help="default: table"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the answer."""
    from app.library import held, open_library, provenance_of
    from app.negotiation import CIF, SVG, written
    from app.options import Options, options_from_text
    from app.prediction import predict
    from app.settings import read_settings
    from app.uploads import FileUpload

    options = options_from_text(Options, ((name, getattr(args, name)) for name in ALL))
    upload = FileUpload(args.file.read_bytes(), args.file.name)
    settings = read_settings(index=args.index, model=args.model)
    library = open_library(settings)
    try:
        with held(library) as now:
            found = predict(now, provenance_of(now), upload, options, "cli", settings.calibrations)
    finally:
        library.close()
    if args.format == "table":
        _print_table(found.answer)
    elif args.format in {"cif", "svg"}:
        print(written(found, CIF if args.format == "cif" else SVG).decode(), end="")
    else:
        print(found.answer.model_dump_json(indent=1))
    return 0


def _print_table(answer: "Answer") -> None:
    for warning in answer.query.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if answer.verdict is not None:
        print(f"verdict: {answer.verdict}", file=sys.stderr)
    if answer.set is not None:
        share = f"{100 * answer.set.coverage:g} %"
        print(f"set: the first {answer.set.size} hold the crystal in {share} of cases", file=sys.stderr)
    if answer.measurement is not None:
        print(f"next: {answer.measurement.text}", file=sys.stderr)
    print(_ROW.format("rank", "formula", "similarity", "R", "tilt", "layer", "source", "id").rstrip())
    for each in answer.candidates:
        also = (
            f" (also {', '.join(each.also[:3])}{', ...' if len(each.also) > 3 else ''})" if each.also else ""
        )
        print(
            _ROW.format(
                each.rank,
                each.formula,
                f"{each.similarity:.4f}",
                "-" if each.match is None or each.match.r_factor is None else f"{each.match.r_factor:.3f}",
                "-" if each.match is None else f"{each.match.tilt_deg:.1f}",
                each.layer_group,
                each.source,
                each.id + also,
            )
        )
