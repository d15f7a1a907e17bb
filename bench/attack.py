"""Attack a service on loopback beside an ordinary client; print what that client saw, memory and recovery as tables.

    python -m bench.attack INDEX [--only NAME ...] [--short] [--seconds 12] [--list]

The service has two workers, at most 1,024 open files and a copy of the index. Attackers come from other addresses of
loopback, in a process with a lower priority. The ordinary client asks four questions a second (/livez, points, a
frame, a comparison), each on a connection of its own. Bars: at least 95 % of its answers are 200s within 2 s, all
others are later 200s, or 429s or 503s with Retry-After; ten answers in a row take less than twice their idle median
(or 0.3 s) within 5 s of the end; the private memory of all processes of the service, sampled every 50 ms, is at most
2 GiB over idle. Further tables: the end of the service, files of the index with a flipped bit, and the growth of the
CPU time of every parser (`bench.hostile_inputs`). The exit status is 1 if a bar is missed. `--short` is for CI: fewer
attacks of 2 s each, and only statuses, survival and memory are bars.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.attacks.attacker import limit_files
from bench.attacks.connections import CONNECTION_ATTACKS
from bench.attacks.index_damage import AT_REST, WHILE_SERVING, Check
from bench.attacks.ordinary_client import build_questions
from bench.attacks.signals import ENDS, OPERATIONS, check_end
from bench.attacks.trial import HEADER, Trial
from bench.attacks.uploads import PREPARE
from bench.attacks.victim import run_victim
from bench.hostile_inputs import DEFAULT_BYTES, measure_growth
from bench.library import build_parser

ATTACKS = (*PREPARE, *CONNECTION_ATTACKS, *OPERATIONS)
NEEDS_KEYS = {"add-structures", "wrong-keys"}
CHECKS: dict[str, dict[str, Check]] = {
    "end of the service": {name: partial(check_end, name) for name in ENDS},
    "a flipped bit at rest": AT_REST,
    "a flipped bit while serving": WHILE_SERVING,
}
PARSERS = "parsers"
EVERYTHING = (*ATTACKS, *(name for checks in CHECKS.values() for name in checks), PARSERS)
SHORT = {
    "compare-structures", "slow-texts", "small-files", "foreign-pages", "idle-from-many-addresses",
    "bodies-without-their-last-byte", "one-byte-chunks", "kill-the-service",
}  # fmt: skip
SHORT_S = 2.0
FILE_LIMIT = 1024  # of the service, as most systems set it


def main() -> int:
    # So that the services end with the benchmark.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))
    options = _parse_options()
    limit_files(FILE_LIMIT)
    if options.list:
        print("\n".join(EVERYTHING))
        return 0
    chosen = set(options.only) or (SHORT if options.short else set(EVERYTHING))
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for with_keys in (False, True):
            names = [each for each in ATTACKS if each in chosen and (each in NEEDS_KEYS) == with_keys]
            missed += _run_attacks(names, options, Path(folder), with_keys)
        for title, checks in CHECKS.items():
            missed += _run_checks(
                title, {name: checks[name] for name in checks if name in chosen}, options.index, Path(folder)
            )
    if PARSERS in chosen:
        _print_header("CPU s of a hostile input, and of one of eight times the size; their ratio")
        missed += measure_growth(DEFAULT_BYTES)
    print(f"\nMissed: {', '.join(missed) or 'nothing'}.")
    return 1 if missed else 0


def _run_attacks(
    names: Sequence[str], options: argparse.Namespace, folder: Path, with_keys: bool
) -> list[str]:
    """Run attacks, one after the other on one service; after one that it does not survive, on another service."""
    missed: list[str] = []
    remaining = list(names)
    while remaining:
        with tempfile.TemporaryDirectory(dir=folder) as copy, asyncio.Runner() as runner:
            index = Path(shutil.copytree(options.index, Path(copy) / "index"))
            with run_victim(index, Path(copy), with_keys=with_keys) as victim:
                trial = Trial(victim, build_questions(index, victim.keys.get("read", "")), options.seconds)
                if len(remaining) == len(names):
                    _print_header(*HEADER)
                is_sound = True
                while remaining and is_sound:
                    outcome = runner.run(trial.attack(remaining[0]))
                    found = outcome.find_missed(with_times=not options.short)
                    missed += [remaining[0]] if found else []
                    _print_row(*outcome.list_cells(), "; ".join(found) or "-")
                    del remaining[0]
                    is_sound = outcome.survived and outcome.recovery_s < float("inf")
    return missed


def _run_checks(title: str, checks: Mapping[str, Check], index: Path, folder: Path) -> list[str]:
    if checks:
        _print_header(title, "outcome")
    missed = []
    for name, check in checks.items():
        outcome = check(index, folder)
        _print_row(name, outcome)
        missed += [name] if outcome.startswith("missed") else []
    return missed


def _print_header(*cells: object) -> None:
    print()
    _print_row(*cells)
    _print_row(*("---" for _ in cells))


def _print_row(*cells: object) -> None:
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="attacks to run (see --list)")
    parser.add_argument("--short", action="store_true", help="a minute, for CI: no bars on times")
    parser.add_argument("--seconds", type=float, help="duration of an attack")
    parser.add_argument("--list", action="store_true", help="print the names of the attacks")
    options = parser.parse_args()
    options.seconds = options.seconds or (SHORT_S if options.short else 12.0)
    return options


if __name__ == "__main__":
    sys.exit(main())
