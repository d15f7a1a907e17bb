"""`dd2d inspect`: what is seen in one pattern, without an index."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.option_flags import add_option_flags, option_fields
from model.errors import OptionError

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from app.presentation.schemas.inspect import Inspection

_KINDS = (".png", ".svg", ".json")


def add_to(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "inspect",
        help="look at one pattern",
        description="Find centre, spots and lattice of one pattern, and judge it.",
        epilog="Example: dd2d inspect frame.dm4 --out frame.png",
        later=_add_options,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="camera frame, or points (JSON, CSV, text)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the drawn frame (.png, .svg) or all that was found (.json)",
    )
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from app.services.options import LatticeOptions

    add_option_flags(parser, LatticeOptions)


def run(args: argparse.Namespace) -> int:
    """Print what was found in short, and write it where wanted."""
    from app.services.inspect import inspect_upload
    from app.services.library import software_version
    from app.services.options import InspectOptions
    from app.services.uploads import FileUpload, ParsedRequest
    from app.settings import read_settings

    kind = None if args.out is None else args.out.suffix.lower()
    if kind is not None and kind not in _KINDS:
        raise OptionError(f"--out {args.out}: give a name that ends in {', '.join(_KINDS)}")
    options = InspectOptions.from_text(option_fields(args))
    upload = FileUpload(args.file.read_bytes(), args.file.name)
    found = inspect_upload(
        ParsedRequest(upload, options), "cli", software_version(), read_settings().calibrations
    )
    if kind == ".png":
        args.out.write_bytes(found.write_png())
    elif kind == ".svg":
        args.out.write_text(found.write_svg(), encoding="utf-8")
    elif kind == ".json":
        args.out.write_text(found.answer.model_dump_json(indent=1) + "\n", encoding="utf-8")
    _print(found.answer)
    return 0


def _print(answer: "Inspection") -> None:
    query = answer.query
    for told in (*query.warnings, *query.quality.advice):
        print(f"note: {told}", file=sys.stderr)
    if answer.frame is not None:
        print(f"frame    {answer.frame.width} x {answer.frame.height}, {answer.frame.format}")
    if query.center is not None:
        print(
            f"centre   {query.center[0]:.2f}, {query.center[1]:.2f} ({query.quality.center_method or 'symmetry'})"
        )
    print(f"spots    {query.spots}")
    size = "unknown" if query.pixel_size is None else f"{query.pixel_size:.6g} 1/angstrom per pixel"
    print(f"scale    {size} ({query.calibration})")
    if query.lattice is not None:
        lengths = f"b/a {query.lattice.b_over_a:.4f}"
        if query.lattice.a is not None and query.lattice.b is not None:
            lengths = f"a {query.lattice.a:.4f}, b {query.lattice.b:.4f} angstrom"
        print(f"lattice  {query.lattice.bravais}, {lengths}, gamma {query.lattice.gamma:.2f}")
    print(f"quality  {query.quality.grade}")
