"""JSON lines, plain or gzip: one document a line, in any of the forms that `documents` knows."""

import json
from collections.abc import Iterator

from index.sources.documents import document_records
from index.sources.record import Record, RejectedEntry
from index.sources.source_file import SourceFile

MAX_LINE_BYTES = 32 * 2**20
# How many of the first lines may be damaged before a file no longer passes for JSON lines.
_TRIED_LINES = 5


def is_json_lines(file: SourceFile) -> bool:
    """Whether one of the first lines is a JSON object by itself."""
    with file.open() as stream:
        for _ in range(_TRIED_LINES):
            line = stream.readline(MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf")
            if line.startswith(b"{") and _parsed(line) is not None:
                return True
    return False


def json_lines_records(file: SourceFile) -> Iterator[Record | RejectedEntry]:
    """The structures, line by line; a line that cannot be used is told by its number."""
    with file.open() as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), start=1):
            text = line.removeprefix(b"\xef\xbb\xbf").strip()
            if text:
                yield from _line_records(text, f"{file.name}:{number}", file.source)


def _line_records(line: bytes, name: str, source: str) -> Iterator[Record | RejectedEntry]:
    document = _parsed(line)
    if document is None:
        yield RejectedEntry(name, "the line is not a JSON object")
    else:
        yield from document_records(document, name, source)


def _parsed(line: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
