"""`dd2d index build`, `info` and `verify`; the commands about versions are in `app.cli.index_versions`."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli import index_versions as versions
from app.cli.lazy import LazyParser
from index.storage.layout import REJECTED_NAME

if TYPE_CHECKING:
    from app.cli.lazy import Commands


def add_to(commands: "Commands") -> None:
    """Declare the commands."""
    parser = commands.add_parser(
        "index", help="build, inspect and publish indexes", description="Build, inspect and publish indexes."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=LazyParser)
    _add_build(actions)
    info = actions.add_parser("info", help="what an index holds", description="What an index holds, as JSON.")
    info.add_argument("directory", type=Path, metavar="DIR")
    info.set_defaults(run=run_info)
    verify = actions.add_parser(
        "verify",
        help="check an index against its digests",
        description="Read all of an index, check it against its digests and embed a sample again.",
    )
    verify.add_argument("directory", type=Path, metavar="DIR")
    verify.add_argument(
        "--model", type=Path, metavar="DIR", help="towers that made it (default: the shipped ones)"
    )
    verify.set_defaults(run=run_verify)
    versions.add_to(actions)


def _add_build(actions: "Commands") -> None:
    build = actions.add_parser(
        "build", help="embed databases of crystals", description="Embed databases of crystals."
    )
    build.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="the word starter, or a file or folder: ASE database, CIF, POSCAR, JSON lines, pymatgen JSON, zip",
    )
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the index")
    build.add_argument("--model", type=Path, metavar="DIR", help="trained towers (default: the shipped ones)")
    build.add_argument(
        "--cell-error",
        action="append",
        default=[],
        metavar="[SOURCE=]FRACTION",
        help="rms by which lengths of cells are off, of all or of one source (default: 0.0125, starter 0.005)",
    )
    build.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    build.set_defaults(run=run_build)


def run_build(args: argparse.Namespace) -> int:
    """Build, then say what was built and what was left out."""
    from index.build.build import build_index, show_progress
    from index.build.cell_errors import CellErrors
    from model.towers.checkpoint import load_towers

    cell_errors = CellErrors.parse(args.cell_error)
    report = build_index(
        args.sources,
        args.out,
        load_towers(args.model),
        progress=show_progress,
        workers=args.workers,
        cell_errors=cell_errors,
    )
    unmet = ", ".join(sorted(cell_errors.by_source.keys() - report.sources.keys()))
    if unmet:
        known = ", ".join(sorted(report.sources))
        print(f"dd2d: --cell-error: no crystal is of the source {unmet}; there are {known}", file=sys.stderr)
    print(
        f"{report.crystals} crystals ({report.groups} different) in {report.directory}, "
        f"{report.seconds['total']:.1f} s, {report.crystals_per_second:.0f} crystals/s"
    )
    if report.rejected:
        print(
            f"{report.rejected} entries were left out; each is listed in {report.directory / REJECTED_NAME}:"
        )
        for reason, count in list(report.reasons.items())[:10]:
            print(f"  {count:>6}  {reason}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print the manifest and the digest of the index."""
    from index.build.inspection import index_info

    manifest = index_info(args.directory)
    print(json.dumps({"digest": manifest.digest, **json.loads(manifest.to_json())}, indent=1))
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Print what is wrong with an index; 1 if anything is."""
    from index.build.inspection import verify_index
    from model.towers.checkpoint import load_towers

    found = verify_index(args.directory, load_towers(args.model))
    for each in found.problems:
        print(f"dd2d: {each}", file=sys.stderr)
    if not found.is_sound:
        return 1
    print(
        f"sound: {found.crystals} crystals in {found.directory}, {found.embedded_again} of them embedded again"
    )
    return 0
