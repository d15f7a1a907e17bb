"""`dd2d index publish`, `versions` and `rollback`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.cli.lazy import Commands

_ROW = "{:<2}{:<28}{:<18}{:>10}"


def add_to(actions: "Commands") -> None:
    """Declare the three commands."""
    publish = actions.add_parser(
        "publish",
        help="copy an index into the folder that is served",
        description="Copy the version in use of an index into the folder that is served, and let it be the one in "
        "use there. A running service takes it up within a second.",
    )
    publish.add_argument("built", type=Path, metavar="BUILT", help="the index, which stays as it is")
    publish.add_argument("--to", type=Path, required=True, metavar="SERVED", help="folder that is served")
    publish.set_defaults(run=run_publish)
    versions = actions.add_parser(
        "versions",
        help="the versions of an index",
        description="The versions of an index; * is the one in use.",
    )
    versions.add_argument("directory", type=Path, metavar="DIR")
    versions.set_defaults(run=run_versions)
    rollback = actions.add_parser(
        "rollback",
        help="go back to an earlier version",
        description="Let an earlier version be the one in use again. A running service takes it up within a second.",
    )
    rollback.add_argument("directory", type=Path, metavar="DIR")
    rollback.add_argument(
        "name", nargs="?", metavar="NAME", help="of the version (default: the one in use before this one)"
    )
    rollback.set_defaults(run=run_rollback)


def run_publish(args: argparse.Namespace) -> int:
    """Publish, then say what is in use now."""
    from index.build.inspection import index_info
    from index.storage.versions import publish_copy
    from model.errors import IndexUnavailableError

    try:
        before = index_info(args.to)
    except IndexUnavailableError:  # the first one there
        before = None
    published = publish_copy(args.built, args.to)
    print(f"{published.name} ({published.manifest.crystals} crystals) is in use in {args.to}")
    if before is not None and before.model != published.manifest.model:
        print(
            "note: other weights made it than the version before; a running service stays with that one until it "
            "is started with the new weights",
            file=sys.stderr,
        )
    return 0


def run_versions(args: argparse.Namespace) -> int:
    """Print a line for each version, the one in use first."""
    from index.storage.versions import versions

    print(_ROW.format("", "version", "created (UTC)", "crystals"))
    for each in versions(args.directory):
        created = each.manifest.created[:16].replace("T", " ")
        print(_ROW.format("*" if each.is_current else "", each.name, created, each.manifest.crystals))
    return 0


def run_rollback(args: argparse.Namespace) -> int:
    """Go back, then say what is in use now."""
    from index.storage.versions import roll_back

    version = roll_back(args.directory, args.name)
    print(f"{version.name} ({version.manifest.crystals} crystals) is in use in {args.directory}")
    return 0
