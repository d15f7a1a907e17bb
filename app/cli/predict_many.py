"""`dd2d predict` with many patterns: a progress bar while they are computed, and a table at the end."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import OptionError

if TYPE_CHECKING:
    from app.settings import Settings

_SUFFIXES = (".csv", ".json")
# With these statuses the service refuses a file as a whole, because it is damaged or too large.
_FILE_STATUSES = {400, 413}

Lines = Iterator[dict[str, Any]]
"""Lines of `POST /predict/batch`."""
Options = Sequence[tuple[str, str]]
"""Names and texts of the request options."""


def list_files(paths: Sequence[Path]) -> list[Path]:
    """List files, and all files below folders in sorted order, except hidden ones.

    Raises:
        OptionError: a path does not exist, or there are no files.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [each for each in path.rglob("*") if each.is_file()]
            files += sorted(each for each in found if not _is_hidden(each.relative_to(path)))
        elif path.is_file():
            files.append(path)
        else:
            raise OptionError(f"{path} does not exist; give a file or a folder.")
    if not files:
        raise OptionError(f"There are no files in {', '.join(map(str, paths))}.")
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def check_output(out: Path | None, output_format: str) -> None:
    """Check that a table can be written, before anything is computed.

    Raises:
        OptionError: an unknown suffix, or a format for one pattern only.
    """
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise OptionError(f"--out {out} has an unknown suffix; use {' or '.join(_SUFFIXES)}.")
    if output_format in {"cif", "svg"}:
        raise OptionError(
            f"--format {output_format} is available only for one pattern; use csv or json for several."
        )


def predict_many(args: argparse.Namespace, files: Sequence[Path], options: Options) -> int:
    """Identify the patterns of all files and write a table; return 1 if some failed."""
    from tqdm import tqdm

    from app.presentation.table import tabulate, write_csv, write_json

    is_json = (args.out.suffix.lower()[1:] if args.out is not None else args.format) == "json"
    rows: list[dict[str, Any]] = []  # a scan may have 65,536 images, so a CSV table keeps no complete answers
    failed = 0
    try:
        with tqdm(total=len(files), unit=" files", disable=None) as bar:
            for line in _predict_files(args, files, options):
                rows.append(line if is_json else tabulate(line))
                failed += line["problem"] is not None
                bar.update(line["progress"]["file"] - bar.n)
    finally:  # an error must not lose the answers of hours
        if rows:
            _write(args.out, write_json(rows) if is_json else write_csv(rows))
        print(f"{len(rows)} patterns, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def _write(out: Path | None, text: str) -> None:
    if out is not None:
        out.write_text(text, encoding="utf-8", errors="replace")
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))


def _predict_files(args: argparse.Namespace, files: Sequence[Path], options: Options) -> Lines:
    if args.url is not None:
        return _predict_remotely(args.url, files, options)
    from app.settings import read_settings

    return _predict_locally(read_settings(index=args.index, model=args.model), files, options)


def _predict_remotely(url: str, files: Sequence[Path], options: Options) -> Lines:
    """Send the files one by one to a service."""
    from app.cli.remote_service import RemoteService, RemoteServiceError

    service = RemoteService(url)
    index = count()
    for number, file in enumerate(files, start=1):
        progress = {"file": number, "files": len(files)}
        try:
            for text in service.predict_batch(file, options):
                line = json.loads(text)
                name = str(file.parent / line["name"])
                yield line | {"index": next(index), "name": name, "progress": progress}
        except RemoteServiceError as error:
            if error.status not in _FILE_STATUSES:
                raise
            failure = _failed_line(str(error), error.status)
            yield failure | {"index": next(index), "name": str(file), "progress": progress}
        except OSError as error:
            failure = _failed_line(f"The file cannot be opened: {error.strerror}.", None)
            yield failure | {"index": next(index), "name": str(file), "progress": progress}


def _failed_line(detail: str, status: int | None) -> dict[str, Any]:
    """Return the line of a file that could not be sent or was refused as a whole."""
    return {"image": None, "status": status, "answer": None, "problem": {"detail": detail}}


def _predict_locally(settings: "Settings", files: Sequence[Path], options: Options) -> Lines:
    """Process the files as a service does, with worker processes."""
    with asyncio.Runner() as runner:
        lines = _run_batch(settings, files, options)
        try:
            while (text := runner.run(_next(lines))) is not None:
                yield json.loads(text)
        finally:
            runner.run(lines.aclose())


async def _next(lines: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(lines, None)


async def _run_batch(
    settings: "Settings", files: Sequence[Path], options: Options
) -> AsyncGenerator[bytes, None]:
    from app.http.routes.batch import find_problem, write_line
    from app.main import create_workers
    from app.observability.metrics import Metrics
    from app.services.options import PredictOptions
    from app.services.uploads import SavedFile
    from app.workers.batch import Batch
    from app.workers.dispatcher import Dispatcher

    saved = tuple(SavedFile(file, str(file)) for file in files)
    batch = Batch(saved, PredictOptions.from_text(options), "cli")
    workers = create_workers(settings)
    dispatcher = Dispatcher(workers, len(workers), settings.queue_bytes, settings.deadline_s, Metrics())
    await dispatcher.start()
    try:
        async with aclosing(batch.results(dispatcher.run, len(workers) + 1)) as results:
            async for result in results:
                yield write_line(result, len(files), find_problem(result))
    finally:
        await dispatcher.close()
