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
    from app.auth.api_keys import ApiKey
    from app.cli.lazy import Commands

_DAYS = re.compile(r"[1-9]\d{0,4}")


def add_command(commands: "Commands") -> None:
    """Declare the command and its actions."""
    parser = commands.add_parser(
        "key",
        help="create, list and revoke API keys",
        description="Manage the API keys of a service started with DD2D_KEYS. A running service notices changes within "
        "a second.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=LazyParser)
    create = actions.add_parser(
        "create",
        help="create a key and print it",
        description="Create a key and print it once. The file stores only its digest.",
    )
    create.add_argument("name", metavar="NAME", help="user or program that will use it; appears in the log")
    create.add_argument(
        "--role",
        choices=["read", "write", "admin"],
        required=True,
        help="read: send patterns; write: also change structures; admin: everything",
    )
    create.add_argument("--days", metavar="N", help="days until it expires (default: never)")
    create.set_defaults(run=run_create)
    listing = actions.add_parser(
        "list", help="list the keys", description="List the names, roles and dates of the keys."
    )
    listing.set_defaults(run=run_list)
    revoke = actions.add_parser(
        "revoke",
        help="revoke a key",
        description="Revoke a key. A running service refuses it within a second.",
    )
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(run=run_revoke)
    for each in (create, listing, revoke):
        each.add_argument("--keys", type=Path, metavar="FILE", help="key file (default: DD2D_KEYS)")


def run_create(args: argparse.Namespace) -> int:
    """Create a key; only its secret goes to standard output, so that it can be piped."""
    from pydantic import ValidationError

    from app.auth.api_keys import create_key
    from app.auth.key_file import update_key_file

    path = _key_file_path(args)
    try:
        key, secret = create_key(args.name, args.role, _expiry(args.days))
    except ValidationError:
        raise OptionError(
            f"{args.name!r} is not a valid key name; use up to 64 letters, digits and ._@-."
        ) from None

    def add_key(keys: "tuple[ApiKey, ...]") -> "tuple[ApiKey, ...]":
        if any(each.name == key.name for each in keys):
            raise OptionError(
                f"A key named {key.name!r} already exists; revoke it first, or choose another name."
            )
        return (*keys, key)

    update_key_file(path, add_key)
    print(
        f"dd2d: created the key {key.name!r} with the role {key.role}; store it safely; it is not shown again.",
        file=sys.stderr,
    )
    print(secret)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print one line per key, without secrets or digests."""
    from app.auth.key_file import describe_exposure, read_key_file

    path = _key_file_path(args)
    now = datetime.now(UTC)
    for key in read_key_file(path).require_intact():
        expiry = f"expires {key.expires:%Y-%m-%d}" if key.expires else "never expires"
        print(
            f"{key.name}\t{key.role}\t{key.created:%Y-%m-%d}\t{'expired' if key.is_expired(now) else expiry}"
        )
    warning = describe_exposure(path)
    if warning:
        print(f"dd2d: {warning}", file=sys.stderr)
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Remove a key from the file."""
    from app.auth.key_file import update_key_file

    def remove_key(keys: "tuple[ApiKey, ...]") -> "tuple[ApiKey, ...]":
        remaining = tuple(each for each in keys if each.name != args.name)
        if len(remaining) == len(keys):
            raise OptionError(f"There is no key named {args.name!r}; `dd2d key list` shows all keys.")
        return remaining

    update_key_file(_key_file_path(args), remove_key)
    return 0


def _key_file_path(args: argparse.Namespace) -> Path:
    path = args.keys or os.environ.get("DD2D_KEYS")
    if not path:
        raise OptionError("The key file is not set; give --keys FILE or set DD2D_KEYS.")
    return Path(path)


def _expiry(days: str | None) -> datetime | None:
    if days is None:
        return None
    if not _DAYS.fullmatch(days):
        raise OptionError(f"--days is {days!r}; it must be a whole number from 1 to 99999.")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(days))
