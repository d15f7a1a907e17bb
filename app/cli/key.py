"""`dd2d key create`, `list` and `revoke`: the API keys of a service."""

import argparse
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.lazy import LazyParser
from model.errors import OptionError

if TYPE_CHECKING:
    from app.auth.api_keys import Key
    from app.cli.lazy import Commands

_DAYS = re.compile(r"[1-9]\d{0,4}")


def add_to(commands: "Commands") -> None:
    """Declare the three commands."""
    parser = commands.add_parser(
        "key",
        help="make, list and revoke API keys",
        description="API keys of a service that is started with DD2D_KEYS. A running one follows within a second.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=LazyParser)
    create = actions.add_parser(
        "create",
        help="make a key and print it",
        description="Make a key and print it, once; the file keeps its digest alone.",
    )
    create.add_argument("name", metavar="NAME", help="who or what will use it; stands in the log")
    create.add_argument(
        "--role",
        choices=["read", "write", "admin"],
        required=True,
        help="read: ask; write: also change structures; admin: everything",
    )
    create.add_argument("--days", metavar="N", help="days until it expires (never)")
    create.set_defaults(run=run_create)
    shown = actions.add_parser(
        "list", help="list the keys", description="Names, roles and dates of the keys."
    )
    shown.set_defaults(run=run_list)
    revoke = actions.add_parser("revoke", help="revoke a key", description="Revoke a key.")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(run=run_revoke)
    for each in (create, shown, revoke):
        each.add_argument("--keys", type=Path, metavar="FILE", help="the key file (DD2D_KEYS)")


def run_create(args: argparse.Namespace) -> int:
    """Print the secret alone to standard output, so that it can be piped into where it belongs."""
    from pydantic import ValidationError

    from app.auth.api_keys import made_key
    from app.auth.key_file import change_key_file

    path = _path(args)
    try:
        key, secret = made_key(args.name, args.role, _expiry(args.days))
    except ValidationError:
        raise OptionError(f"{args.name!r} is no name of a key; take letters, digits and ._@- (64)") from None

    def added(keys: "tuple[Key, ...]") -> "tuple[Key, ...]":
        if any(each.name == key.name for each in keys):
            raise OptionError(f"there is a key {key.name!r} already; revoke it first, or take another name")
        return (*keys, key)

    change_key_file(path, added)
    print(f"dd2d: key {key.name!r} may {key.role}; keep it well, it is not shown again", file=sys.stderr)
    print(secret)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print a line for each key; nothing that lets anybody in."""
    from app.auth.key_file import exposure, read_key_file

    path = _path(args)
    now = datetime.now(UTC)
    for key in read_key_file(path).sound():
        until = f"until {key.expires:%Y-%m-%d}" if key.expires else "no end"
        print(
            f"{key.name}\t{key.role}\t{key.created:%Y-%m-%d}\t{'expired' if key.has_expired(now) else until}"
        )
    told = exposure(path)
    if told:
        print(f"dd2d: {told}", file=sys.stderr)
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Take a key out of the file."""
    from app.auth.key_file import change_key_file

    def without(keys: "tuple[Key, ...]") -> "tuple[Key, ...]":
        left = tuple(each for each in keys if each.name != args.name)
        if len(left) == len(keys):
            raise OptionError(f"there is no key {args.name!r}; dd2d key list shows those there are")
        return left

    change_key_file(_path(args), without)
    return 0


def _path(args: argparse.Namespace) -> Path:
    given = args.keys or os.environ.get("DD2D_KEYS")
    if not given:
        raise OptionError("which key file? give --keys FILE, or set DD2D_KEYS")
    return Path(given)


def _expiry(days: str | None) -> datetime | None:
    if days is None:
        return None
    if not _DAYS.fullmatch(days):
        raise OptionError(f"--days is {days!r}; give a whole number of days, 1 to 99999")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(days))
