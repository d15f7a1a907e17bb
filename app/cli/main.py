"""The command line, `dd2d`. A command imports what it needs when it runs."""

import argparse
import os
import sys
from collections.abc import Sequence

from app.cli import calibrate, evaluate, index, inspect, key, predict, serve, simulate, train
from app.cli.lazy import LazyParser
from model.errors import DomainError

_EXIT_ERROR = 2
_EXIT_INTERRUPTED = 130
_EXIT_PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Returns:
        0 for success, 1 for a check that failed, 2 for a wrong call or an error, which is printed as one line.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except DomainError as error:
        return _print_error(str(error))
    except BrokenPipeError:
        # The reader has closed the pipe; Python must not flush the rest into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_PIPE_CLOSED
    except OSError as error:
        return _print_error(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    return status


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="dd2d",
        description="Identify two-dimensional crystals from a single electron diffraction pattern.",
    )
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=LazyParser
    )
    for command in (serve, predict, inspect, calibrate, simulate, index, key, train, evaluate):
        command.add_command(commands)
    return parser


def _print_error(message: str) -> int:
    print(f"dd2d: {message}", file=sys.stderr)
    return _EXIT_ERROR


class _PrintVersion(argparse.Action):
    """Looks up the version only on request."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(version("dd2d-server"))
        parser.exit()
