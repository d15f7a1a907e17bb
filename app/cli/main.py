"""The command line, `dd2d`: what each command needs is imported when it runs."""

import argparse
import os
import sys
from collections.abc import Sequence

from app.cli import calibrate, index, inspect, key, predict, serve, simulate
from app.cli import train as training
from app.cli.lazy import LazyParser
from model.errors import DomainError

_FAILED = 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a check that found something, 2 a wrong call or an error told in one line."""
    parsed = build_parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except DomainError as error:
        return _failed(str(error))
    except BrokenPipeError:
        # Whoever read has seen enough; what is left must not be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except OSError as error:
        return _failed(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _failed(told: str) -> int:
    print(f"dd2d: {told}", file=sys.stderr)
    return _FAILED


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="dd2d", description="Identifies two-dimensional crystals from one electron diffraction pattern."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=LazyParser
    )
    for command in (serve, predict, inspect, calibrate, simulate, index, key, training):
        command.add_to(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(version("dd2d-server"))
        parser.exit()
