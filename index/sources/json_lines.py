"""JSON lines, plain or gzip-compressed: each line is a document in one of the layouts of `json_documents`."""

import json
from collections.abc import Iterator

from index.sources.json_documents import read_document
from index.sources.record import Record, RejectedEntry
from index.sources.source_file import BYTE_ORDER_MARK, SourceFile

MAX_LINE_BYTES = 32 * 2**20
# How many of the first lines may be damaged before a file is no longer recognized as JSON lines.
_TRIED_LINES = 5


def is_json_lines(file: SourceFile) -> bool:
    """Return whether any of the first lines is itself a JSON object."""
    with file.open() as stream:
        first = (stream.readline(MAX_LINE_BYTES).removeprefix(BYTE_ORDER_MARK) for _ in range(_TRIED_LINES))
        return any(line.startswith(b"{") and _parse_line(line) is not None for line in first)


def read_json_lines(file: SourceFile) -> Iterator[Record | RejectedEntry]:
    """Yield the structures line by line; a line that cannot be used is reported by its number."""
    with file.open() as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), start=1):
            text = line.removeprefix(BYTE_ORDER_MARK).strip()
            if text:
                yield from _read_line(text, f"{file.name}:{number}", file.source)


def _read_line(line: bytes, name: str, source: str) -> Iterator[Record | RejectedEntry]:
    document = _parse_line(line)
    if document is None:
        yield RejectedEntry(name, "The line is not a JSON object.")
    else:
        yield from read_document(document, name, source)


def _parse_line(line: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
