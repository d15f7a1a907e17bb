"""`python -m tests.golden record` and `compare`: the regression recording from the command line."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from tests.golden.cases import list_cases
from tests.golden.comparison import compare_records
from tests.golden.messages import Case
from tests.golden.records import (
    ALL_DIGITS,
    DIGITS,
    RECORDING,
    Record,
    read_recording,
    record_case,
    write_recording,
)
from tests.golden.service import Service, build_index, run_service
from tests.paths import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 means that a comparison found differences."""
    options = _parse(arguments)
    cases = [case for case in list_cases() if fnmatch(case.id, options.only)]
    if not cases:
        print(f"no request matches {options.only!r}", file=sys.stderr)
        return 2
    began = time.monotonic()
    with _temporary_service(options.checkout.resolve()) as service:
        status: int = options.run(service, cases, options)
    print(f"{len(cases)} cases, {time.monotonic() - began:.0f} s")
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record = commands.add_parser("record", help="write a recording")
    record.add_argument("--out", type=Path, default=RECORDING, metavar="FILE", help="the recording")
    record.add_argument("--all-digits", action="store_true", help="do not round numbers to nine digits")
    record.set_defaults(run=_record)
    compare = commands.add_parser("compare", help="compare answers with a recording")
    compare.add_argument("--against", type=Path, default=RECORDING, metavar="FILE", help="the recording")
    compare.add_argument("--exact", action="store_true", help="numbers agree to 1e-6, as on one machine")
    compare.set_defaults(run=_compare)
    for each in (record, compare):
        each.add_argument("--only", default="*", metavar="PATTERN", help="cases, such as 'predict/frame/*'")
        each.add_argument("--checkout", type=Path, default=ROOT, metavar="DIR", help="code that is run")
    return parser.parse_args(arguments)


@contextmanager
def _temporary_service(checkout: Path) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_index(folder / "index", checkout)
        with run_service(folder / "index", folder, checkout) as service:
            yield service


def _record(service: Service, cases: list[Case], options: argparse.Namespace) -> int:
    records: list[Record] = [record for case in cases for record in record_case(service, case)]
    write_recording(records, options.out, ALL_DIGITS if options.all_digits else DIGITS)
    print(f"{len(records)} answers in {options.out}")
    return 0


def _compare(service: Service, cases: list[Case], options: argparse.Namespace) -> int:
    recording = read_recording(options.against)
    different = 0
    for case in cases:
        for found in record_case(service, case):
            recorded = recording.get(found["id"])
            differences = (
                ["is not in the recording"]
                if recorded is None
                else compare_records(recorded, found, exact=options.exact)
            )
            different += bool(differences)
            for difference in differences:
                print(f"{found['id']}: {difference}")
    print(f"{different} answers differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
