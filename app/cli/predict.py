"""`dd2d predict`: identify the crystals of patterns, with an index on this machine or with a running service."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.option_flags import add_option_flags, option_fields

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from app.presentation.schemas.predict import Answer, CandidateSchema

_MEDIA_TYPES = {"cif": "chemical/x-cif", "svg": "image/svg+xml"}
_ROW = "{:>4}  {:<16} {:>10} {:>6} {:>6} {:>6}  {:<14} {}"
_MAX_DUPLICATES = 3


def add_command(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "predict",
        help="identify the crystals of patterns",
        description="Identify the crystal of a pattern, or of each pattern in folders, zip archives and scans. "
        "Warnings go to standard error. With --url a running service answers; its API key is taken from DD2D_KEY.",
        epilog="Examples: dd2d predict frame.tif --pixel-size 0.005 --elements-only Mo,S; "
        "dd2d predict session/ --out session.csv",
        add_arguments=_add_options,
    )
    add = parser.add_argument
    add(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="camera frame, points as JSON, CSV or text, zip archive, or folder",
    )
    add("--index", type=Path, metavar="DIR", help="index to search (default: DD2D_INDEX, indexes/starter)")
    add("--model", type=Path, metavar="DIR", help="trained towers (default: DD2D_MODEL, the shipped ones)")
    add("--url", metavar="URL", help="running service to use instead of an index on this machine")
    add(
        "--format",
        choices=["json", "cif", "svg", "csv", "table"],
        default="table",
        help="format of the output (default: table; csv for several patterns)",
    )
    add("--out", type=Path, metavar="FILE", help="write a table (.csv) or the complete answers (.json)")
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from app.services.options import PredictOptions

    add_option_flags(parser, PredictOptions, without=("overlay",))


def run(args: argparse.Namespace) -> int:
    """Print the answer to one pattern, or a table of the answers to many."""
    from app.cli.predict_many import check_output, list_files, predict_many

    options = option_fields(args)
    if len(args.files) > 1 or args.out is not None or args.format == "csv" or _holds_many(args.files[0]):
        check_output(args.out, args.format)
        return predict_many(args, list_files(args.files), options)
    media_type = _MEDIA_TYPES.get(args.format, "application/json")
    content = (_request if args.url else _compute)(args, options, media_type)
    if args.format == "table":
        from app.presentation.schemas.predict import Answer

        _print_answer(Answer.model_validate_json(content))
    elif args.format == "json":
        print(json.dumps(json.loads(content), indent=1, ensure_ascii=False))
    else:
        print(content.decode(), end="")
    return 0


def _holds_many(path: Path) -> bool:
    """Return whether a path is a folder or a zip archive. The first image of a scan counts as one pattern."""
    if path.is_dir():
        return True
    from app.workers.batch import is_zip

    return is_zip(path, path.name)


def _request(args: argparse.Namespace, options: list[tuple[str, str]], media_type: str) -> bytes:
    from app.cli.remote_service import RemoteService

    (file,) = args.files
    return RemoteService(args.url).predict(file, options, media_type)


def _compute(args: argparse.Namespace, options: list[tuple[str, str]], media_type: str) -> bytes:
    from app.services.options import PredictOptions
    from app.services.predict import predict
    from app.services.search_index import describe_provenance, hold_state, open_index
    from app.services.uploads import FileUpload, read_pattern
    from app.settings import read_settings

    (file,) = args.files
    parsed = PredictOptions.from_text(options)
    upload = FileUpload(file.read_bytes(), file.name)
    settings = read_settings(index=args.index, model=args.model)
    index = open_index(settings)
    try:
        pattern = read_pattern(upload, parsed, settings.calibrations)
        with hold_state(index) as state:
            return predict(state, describe_provenance(state), pattern, "cli").write(media_type)
    finally:
        index.close()


def _print_answer(answer: "Answer") -> None:
    """Print the candidates as a table, and everything else to standard error."""
    for warning in answer.query.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if answer.verdict is not None:
        print(f"verdict: {answer.verdict}", file=sys.stderr)
    if answer.confidence_set is not None:
        coverage, size = 100 * answer.confidence_set.coverage, answer.confidence_set.size
        candidates = "1 candidate" if size == 1 else f"{size} candidates"
        print(
            f"{coverage:g} % confidence set: {candidates} (if the crystal is in the library)", file=sys.stderr
        )
    if answer.next_measurement is not None:
        print(f"next measurement: {answer.next_measurement.advice}", file=sys.stderr)
    print(_ROW.format("rank", "formula", "similarity", "R", "tilt", "layer", "source", "id").rstrip())
    for candidate in answer.candidates:
        print(_format_row(candidate))


def _format_row(candidate: "CandidateSchema") -> str:
    match, same_as = candidate.match, candidate.same_as
    duplicates = ", ".join([*same_as[:_MAX_DUPLICATES], *(["..."] if len(same_as) > _MAX_DUPLICATES else [])])
    return _ROW.format(
        candidate.rank,
        candidate.formula,
        f"{candidate.similarity:.4f}",
        "-" if match is None or match.r_factor is None else f"{match.r_factor:.3f}",
        "-" if match is None else f"{match.tilt_deg:.1f}",
        candidate.layer_group,
        candidate.source,
        f"{candidate.id} (same as {duplicates})" if duplicates else candidate.id,
    )
