"""Many patterns from the command line: a progress bar, and a table at the end."""

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

_FORMATS = (".csv", ".json")
# Statuses that the service gives to what is wrong with a file: it is damaged, or too large.
_OF_ONE_FILE = {400, 413}
Lines = Iterator[dict[str, Any]]


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files named, and those in the folders named and below them, sorted; hidden ones are left out.

    Raises:
        OptionError: no such file, or none at all.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [each for each in path.rglob("*") if each.is_file()]
            files += sorted(each for each in inside if not _is_hidden(each.relative_to(path)))
        elif path.is_file():
            files.append(path)
        else:
            raise OptionError(f"{path}: there is no such file or folder")
    if not files:
        raise OptionError(f"{', '.join(map(str, paths))}: there are no files in it")
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def check_table(out: Path | None, kind: str) -> None:
    """Refuse before anything is computed what could not be written.

    Raises:
        OptionError: a name that ends otherwise, a form that holds one pattern only.
    """
    if out is not None and out.suffix.lower() not in _FORMATS:
        raise OptionError(f"--out {out}: give a name that ends in {' or '.join(_FORMATS)}")
    if kind in {"cif", "svg"}:
        raise OptionError(f"--format {kind} is of one pattern; several give a table, csv or json")


def run_many(args: argparse.Namespace, files: Sequence[Path], fields: Sequence[tuple[str, str]]) -> int:
    """Answer all files; 1 where some could not be read."""
    from tqdm import tqdm

    from app.presentation.table import as_csv, as_json, row_of

    whole = (args.out.suffix.lower()[1:] if args.out is not None else args.format) == "json"
    kept: list[dict[str, Any]] = []  # of a scan's 65,536 whole answers a table has no need
    failed = 0
    try:
        with tqdm(total=len(files), unit=" files", disable=None) as bar:
            for line in _answered(args, files, fields):
                kept.append(line if whole else row_of(line))
                failed += line["problem"] is not None
                bar.update(line["progress"]["file"] - bar.n)
    finally:  # what was answered before something went wrong took hours, perhaps
        if kept:
            _write(args.out, as_json(kept) if whole else as_csv(kept))
        print(f"{len(kept)} patterns, {failed} could not be answered", file=sys.stderr)
    return 1 if failed else 0


def _write(out: Path | None, text: str) -> None:
    if out is not None:
        out.write_text(text, encoding="utf-8", errors="replace")
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))


def _answered(args: argparse.Namespace, files: Sequence[Path], fields: Sequence[tuple[str, str]]) -> Lines:
    if args.url is not None:
        return _by_service(args.url, files, fields)
    from app.settings import read_settings

    return _by_workers(read_settings(index=args.index, model=args.model), files, fields)


def _by_service(url: str, files: Sequence[Path], fields: Sequence[tuple[str, str]]) -> Lines:
    from app.cli.remote_service import Remote, RemoteError

    remote = Remote(url)
    index = count()
    for number, file in enumerate(files, start=1):
        try:
            for text in remote.predict_batch(file, fields):
                line = json.loads(text)
                yield line | _place(next(index), str(file.parent / line["name"]), number, files)
        except RemoteError as error:
            if error.status not in _OF_ONE_FILE:
                raise
            yield _refused(str(error), error.status) | _place(next(index), str(file), number, files)
        except OSError as error:
            told = f"the file cannot be opened: {error.strerror}"
            yield _refused(told, None) | _place(next(index), str(file), number, files)


def _place(index: int, name: str, number: int, files: Sequence[Path]) -> dict[str, Any]:
    """What a line tells of its place among those of all files, each of which was sent by itself."""
    return {"index": index, "name": name, "progress": {"file": number, "files": len(files)}}


def _refused(detail: str, status: int | None) -> dict[str, Any]:
    """The line of a file that was refused before it was looked at."""
    return {"image": None, "status": status, "answer": None, "problem": {"detail": detail}}


def _by_workers(settings: "Settings", files: Sequence[Path], fields: Sequence[tuple[str, str]]) -> Lines:
    """As a service would, with workers of its own."""
    with asyncio.Runner() as runner:
        lines = _lines(settings, files, fields)
        try:
            while (text := runner.run(_next(lines))) is not None:
                yield json.loads(text)
        finally:
            runner.run(lines.aclose())


async def _next(lines: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(lines, None)


async def _lines(
    settings: "Settings", files: Sequence[Path], fields: Sequence[tuple[str, str]]
) -> AsyncGenerator[bytes, None]:
    from app.http.routes.batch import find_problem, write_line
    from app.main import processes
    from app.observability.metrics import Metrics
    from app.services.options import PredictOptions
    from app.services.uploads import SavedFile
    from app.workers.batch import Batch
    from app.workers.dispatcher import Dispatcher

    saved = tuple(SavedFile(file, str(file)) for file in files)
    batch = Batch(saved, PredictOptions.from_text(fields), "cli")
    workers = processes(settings)
    dispatcher = Dispatcher(workers, len(workers), settings.queue_bytes, settings.deadline_s, Metrics())
    await dispatcher.start()
    try:
        async with aclosing(batch.results(dispatcher.run, len(workers) + 1)) as results:
            async for result in results:
                yield write_line(result, len(files), find_problem(result))
    finally:
        await dispatcher.close()
