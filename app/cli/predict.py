"""`dd2d predict`: the crystals of one pattern or many, with a running service or without."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.option_flags import add_option_flags, option_fields

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from app.presentation.schemas.predict import Answer

_FORMS = {"cif": "chemical/x-cif", "svg": "image/svg+xml"}
_ROW = "{:>4}  {:<16} {:>10} {:>6} {:>6} {:>6}  {:<14} {}"


def add_to(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "predict",
        help="identify patterns",
        description="Identify the crystal of a pattern, or of all in a folder, zip or scan. What is assumed is told on "
        "standard error. With --url a running service is asked; the key that it may ask for is taken from DD2D_KEY.",
        epilog="Examples: dd2d predict frame.tif --pixel-size 0.005 --elements-only Mo,S; "
        "dd2d predict session/ --out session.csv",
        later=_add_options,
    )
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="camera frame, points (JSON, CSV, text), or a folder",
    )
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="index to search (DD2D_INDEX, indexes/starter)"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="trained towers (DD2D_MODEL, the shipped ones)"
    )
    parser.add_argument("--url", metavar="URL", help="service to ask in place of an index on this machine")
    parser.add_argument(
        "--format",
        choices=["json", "cif", "svg", "csv", "table"],
        default="table",
        help="of what is printed (default: table, of several patterns csv)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="table of the answers, .csv, or all of them, .json"
    )
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from app.services.options import PredictOptions

    add_option_flags(parser, PredictOptions, without=("overlay",))


def run(args: argparse.Namespace) -> int:
    """Print the answer, or the table of many."""
    from app.cli.predict_many import check_table, files_of, run_many

    fields = option_fields(args)
    one = (
        len(args.files) == 1 and args.out is None and args.format != "csv" and not _holds_many(args.files[0])
    )
    if not one:
        check_table(args.out, args.format)
        return run_many(args, files_of(args.files), fields)
    (file,) = args.files
    media_type = _FORMS.get(args.format, "application/json")
    content = _asked(args.url, file, fields, media_type) if args.url else _computed(args, fields, media_type)
    if args.format == "table":
        from app.presentation.schemas.predict import Answer

        _print_table(Answer.model_validate_json(content))
    elif args.format == "json":
        print(json.dumps(json.loads(content), indent=1, ensure_ascii=False))
    else:
        print(content.decode(), end="")
    return 0


def _holds_many(path: Path) -> bool:
    """Whether it is a folder or a zip; a scan's first image is one pattern unless a table is asked for."""
    if path.is_dir():
        return True
    from app.workers.batch import is_zip

    return is_zip(path, path.name)


def _asked(url: str, file: Path, fields: list[tuple[str, str]], media_type: str) -> bytes:
    from app.cli.remote_service import Remote

    return Remote(url).predict(file, fields, media_type)


def _computed(args: argparse.Namespace, fields: list[tuple[str, str]], media_type: str) -> bytes:
    from app.services.library import held, open_library, provenance_of
    from app.services.options import PredictOptions
    from app.services.predict import predict, read_pattern
    from app.services.uploads import FileUpload
    from app.settings import read_settings

    (file,) = args.files
    options = PredictOptions.from_text(fields)
    upload = FileUpload(file.read_bytes(), file.name)
    settings = read_settings(index=args.index, model=args.model)
    library = open_library(settings)
    try:
        pattern = read_pattern(upload, options, settings.calibrations)
        with held(library) as now:
            return predict(now, provenance_of(now), pattern, "cli").write(media_type)
    finally:
        library.close()


def _print_table(answer: "Answer") -> None:
    for warning in answer.query.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if answer.verdict is not None:
        print(f"verdict: {answer.verdict}", file=sys.stderr)
    if answer.confidence_set is not None:
        share = f"{100 * answer.confidence_set.coverage:g} %"
        print(
            f"set: the first {answer.confidence_set.size} hold the crystal in {share} of cases",
            file=sys.stderr,
        )
    if answer.next_measurement is not None:
        print(f"next: {answer.next_measurement.advice}", file=sys.stderr)
    print(_ROW.format("rank", "formula", "similarity", "R", "tilt", "layer", "source", "id").rstrip())
    for each in answer.candidates:
        also = (
            f" (also {', '.join(each.same_as[:3])}{', ...' if len(each.same_as) > 3 else ''})"
            if each.same_as
            else ""
        )
        print(
            _ROW.format(
                each.rank,
                each.formula,
                f"{each.similarity:.4f}",
                "-" if each.match is None or each.match.r_factor is None else f"{each.match.r_factor:.3f}",
                "-" if each.match is None else f"{each.match.tilt_deg:.1f}",
                each.layer_group,
                each.source,
                each.id + also,
            )
        )
