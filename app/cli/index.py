"""`dd2d index`: build, inspect, verify, publish and roll back indexes."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.lazy import LazyParser
from index.storage.layout import REJECTED_NAME

if TYPE_CHECKING:
    from app.cli.lazy import Commands

_MAX_REASONS = 10
_VERSION_ROW = "{:<2}{:<28}{:<18}{:>10}"


def add_command(commands: "Commands") -> None:
    """Declare the command and its actions."""
    parser = commands.add_parser(
        "index", help="build, inspect and publish indexes", description="Build, inspect and publish indexes."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=LazyParser)
    _add_build(actions)
    info = actions.add_parser(
        "info", help="describe an index", description="Print the manifest of an index as JSON."
    )
    info.add_argument("directory", type=Path, metavar="DIR", help="folder of the index")
    info.set_defaults(run=run_info)
    verify = actions.add_parser(
        "verify",
        help="check an index for damage",
        description="Read a whole index, check it against its digests, and embed a sample of its crystals again.",
    )
    verify.add_argument("directory", type=Path, metavar="DIR", help="folder of the index")
    verify.add_argument(
        "--model", type=Path, metavar="DIR", help="towers that embedded it (default: the shipped ones)"
    )
    verify.set_defaults(run=run_verify)
    _add_publish(actions)
    versions = actions.add_parser(
        "versions",
        help="list the versions of an index",
        description="List the versions of an index, the current one first.",
    )
    versions.add_argument("directory", type=Path, metavar="DIR", help="folder of the index")
    versions.set_defaults(run=run_versions)
    _add_rollback(actions)


def _add_build(actions: "Commands") -> None:
    build = actions.add_parser(
        "build",
        help="embed databases of crystals",
        description="Read databases of crystals, embed every crystal and write an index.",
        epilog="Example: dd2d index build c2db.db my-crystals/ --out indexes/c2db",
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
        help="relative rms error of lattice parameters, of all sources or of one (default: 0.0125, starter 0.005)",
    )
    build.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")
    build.set_defaults(run=run_build)


def _add_publish(actions: "Commands") -> None:
    publish = actions.add_parser(
        "publish",
        help="copy an index into the folder that a service reads",
        description="Copy the current version of an index into the folder that a service reads, and make it the "
        "current version there. A running service switches to it within a second.",
    )
    publish.add_argument("built", type=Path, metavar="BUILT", help="folder of the index (left unchanged)")
    publish.add_argument(
        "--to", type=Path, required=True, metavar="SERVED", help="folder that the service reads"
    )
    publish.set_defaults(run=run_publish)


def _add_rollback(actions: "Commands") -> None:
    rollback = actions.add_parser(
        "rollback",
        help="return to an earlier version",
        description="Make an earlier version the current one. A running service switches to it within a second.",
    )
    rollback.add_argument("directory", type=Path, metavar="DIR", help="folder of the index")
    rollback.add_argument(
        "name", nargs="?", metavar="NAME", help="name of the version (default: the previous one)"
    )
    rollback.set_defaults(run=run_rollback)


def run_build(args: argparse.Namespace) -> int:
    """Build an index, then print a summary."""
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
    unknown = ", ".join(sorted(cell_errors.by_source.keys() - report.sources.keys()))
    if unknown:
        known = ", ".join(sorted(report.sources))
        print(
            f"dd2d: --cell-error names the unknown source {unknown}; the sources are {known}.",
            file=sys.stderr,
        )
    print(
        f"{report.crystals} crystals ({report.groups} distinct) in {report.directory}, "
        f"{report.seconds['total']:.1f} s, {report.crystals_per_second:.0f} crystals/s"
    )
    if report.rejected:
        print(f"{report.rejected} entries were rejected; {report.directory / REJECTED_NAME} lists them:")
        for reason, count in list(report.reasons.items())[:_MAX_REASONS]:
            print(f"  {count:>6}  {reason}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print the manifest and the digest of an index."""
    from index.storage.versions import find_current_version

    manifest = find_current_version(args.directory).manifest
    print(json.dumps({"digest": manifest.digest, **json.loads(manifest.to_json())}, indent=1))
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Print the problems of an index; return 1 if there are any."""
    from index.build.inspection import verify_index
    from model.towers.checkpoint import load_towers

    check = verify_index(args.directory, load_towers(args.model))
    for problem in check.problems:
        print(f"dd2d: {problem}", file=sys.stderr)
    if not check.is_sound:
        return 1
    print(
        f"no damage found: {check.crystals} crystals in {check.directory}, {check.embedded_again} embedded again"
    )
    return 0


def run_publish(args: argparse.Namespace) -> int:
    """Publish an index, then print the current version."""
    from index.storage.publish import publish_copy
    from index.storage.versions import find_current_version
    from model.errors import IndexUnavailableError

    try:
        previous = find_current_version(args.to).manifest
    except IndexUnavailableError:  # nothing was published there before
        previous = None
    published = publish_copy(args.built, args.to)
    print(f"{args.to} now uses {published.name} ({published.manifest.crystals} crystals).")
    if previous is not None and previous.model != published.manifest.model:
        print(
            "note: This version was embedded with different weights from the previous one; a running service keeps the "
            "previous version until it is restarted with the new weights.",
            file=sys.stderr,
        )
    return 0


def run_versions(args: argparse.Namespace) -> int:
    """Print a line for each version; a star marks the current one."""
    from index.storage.versions import find_version_folder, list_versions

    current = find_version_folder(args.directory).name
    print(_VERSION_ROW.format("", "version", "created (UTC)", "crystals"))
    for version in list_versions(args.directory):
        created = version.manifest.created[:16].replace("T", " ")
        star = "*" if version.name == current else ""
        print(_VERSION_ROW.format(star, version.name, created, version.manifest.crystals))
    return 0


def run_rollback(args: argparse.Namespace) -> int:
    """Roll back, then print the current version."""
    from index.storage.publish import roll_back

    version = roll_back(args.directory, args.name)
    print(f"{args.directory} now uses {version.name} ({version.manifest.crystals} crystals).")
    return 0
