"""`dd2d inspect`: find the spots and the lattice of a pattern and assess its quality, without an index."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.option_flags import add_option_flags, option_fields
from model.errors import OptionError

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from app.presentation.schemas.inspect import Inspection

_SUFFIXES = (".png", ".svg", ".json")


def add_command(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "inspect",
        help="inspect a pattern without a search",
        description="Find the center, the spots and the lattice of a pattern, and assess its quality.",
        epilog="Example: dd2d inspect frame.dm4 --out frame.png",
        add_arguments=_add_options,
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="camera frame, or points as JSON, CSV or text"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the annotated frame (.png, .svg) or the complete result (.json)",
    )
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from app.services.options import LatticeOptions

    add_option_flags(parser, LatticeOptions)


def run(args: argparse.Namespace) -> int:
    """Print a summary, and write the result to the output file."""
    from app.services.inspect import inspect_upload
    from app.services.options import InspectOptions
    from app.services.uploads import FileUpload, ParsedRequest
    from app.settings import read_settings

    suffix = None if args.out is None else args.out.suffix.lower()
    if suffix is not None and suffix not in _SUFFIXES:
        raise OptionError(f"--out {args.out} has an unknown suffix; use {', '.join(_SUFFIXES)}.")
    options = InspectOptions.from_text(option_fields(args))
    upload = FileUpload(args.file.read_bytes(), args.file.name)
    inspected = inspect_upload(ParsedRequest(upload, options), "cli", read_settings().calibrations)
    if suffix == ".png":
        args.out.write_bytes(inspected.write_png())
    elif suffix == ".svg":
        args.out.write_text(inspected.write_svg(), encoding="utf-8")
    elif suffix == ".json":
        args.out.write_text(inspected.answer.model_dump_json(indent=1) + "\n", encoding="utf-8")
    _print_summary(inspected.answer)
    return 0


def _print_summary(answer: "Inspection") -> None:
    query, lattice = answer.query, answer.query.lattice
    for message in (*query.warnings, *query.quality.advice):
        print(f"note: {message}", file=sys.stderr)
    if answer.frame is not None:
        print(f"frame    {answer.frame.width} x {answer.frame.height}, {answer.frame.format}")
    if query.center is not None:
        x, y = query.center
        print(f"center   {x:.2f}, {y:.2f} ({query.quality.center_method or 'symmetry'})")
    print(f"spots    {query.spots}")
    scale = "unknown" if query.pixel_size is None else f"{query.pixel_size:.6g} 1/angstrom per pixel"
    print(f"scale    {scale} ({query.calibration})")
    if lattice is not None:
        lengths = f"b/a {lattice.b_over_a:.4f}"
        if lattice.a is not None and lattice.b is not None:
            lengths = f"a {lattice.a:.4f}, b {lattice.b:.4f} angstrom"
        print(f"lattice  {lattice.bravais}, {lengths}, gamma {lattice.gamma:.2f}")
    print(f"quality  {query.quality.grade}")
