"""The log: one line per record, as text or JSON, each with the id of the request it belongs to."""

import json
import logging
import re
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, NamedTuple

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request being handled, `-` outside of one.

Tasks and `asyncio.to_thread` inherit it; a bare `Executor.submit` and other processes do not, so jobs carry the id.
"""

ACCESS = "access"
"""The `extra` of an access log record: its fields in the JSON format."""

MAX_LINES_PER_SECOND = 20
"""Lines of one kind. A flood of refused requests must fill neither the disk nor the log's reader."""


@contextmanager
def with_request_id(request_id: str) -> Iterator[None]:
    """Log under the id of a request within the context."""
    token = REQUEST_ID.set(request_id)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


# Control characters, Unicode line ends and bidirectional marks. With these escaped, no file name can end a line, forge
# another, or color a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TEXT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"


def configure_logging(level: str, form: Literal["text", "json"]) -> None:
    """Log to standard error: this project at `level`, other libraries from warnings upward.

    Python's own warnings are logged only under `python -W`.
    """
    handler = logging.StreamHandler()
    handler.addFilter(add_request_id)
    handler.addFilter(LineLimit())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(_TEXT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    # Libraries quote the content of uploads in their warnings, and Python keeps every distinct text forever.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name in ("app", "index", "model", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    # tifffile logs each odd tag of each upload as an error; whoever sent a file learns from the response what is wrong.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def add_request_id(record: logging.LogRecord) -> bool:
    """Set the request id of a record. As a filter of the handler, it also covers the records of libraries."""
    record.request_id = REQUEST_ID.get()
    return True


class LineKind(NamedTuple):
    """The place in the code that a line comes from and, in the access log, the status of the request."""

    logger: str
    level: int
    file: str
    line: int
    status: int | None

    @classmethod
    def of(cls, record: logging.LogRecord) -> "LineKind":
        """Return the kind of a record."""
        status = getattr(record, ACCESS, {}).get("status")
        return cls(record.name, record.levelno, record.filename, record.lineno, status)


class LineLimit(logging.Filter):
    """Drops the lines of a kind beyond `MAX_LINES_PER_SECOND`, and logs how many were dropped.

    The access log of requests that succeed is complete.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._second = 0
        self._lines: Counter[LineKind] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        kind = LineKind.of(record)
        with self._lock:
            dropped = self._start_second(int(record.created))
            is_limited = kind.status is None or kind.status >= 400
            self._lines[kind] += is_limited
            is_logged = self._lines[kind] <= MAX_LINES_PER_SECOND
        for each, count in dropped.items():
            of_status = "" if each.status is None else f" with status {each.status}"
            logging.getLogger(each.logger).log(
                each.level, "%d lines%s from %s:%d were dropped.", count, of_status, each.file, each.line
            )
        return is_logged

    def _start_second(self, second: int) -> dict[LineKind, int]:
        """Return how many lines were dropped in the second that has ended, if one has."""
        if second == self._second:
            return {}
        extra = {kind: count - MAX_LINES_PER_SECOND for kind, count in self._lines.items()}
        self._second = second
        self._lines.clear()
        return {kind: count for kind, count in extra.items() if count > 0}


class TextFormatter(logging.Formatter):
    """Formats a record as one line of text. Only the lines of a traceback start with a bar."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's own name
        """Return the line, with unprintable characters escaped."""
        return _UNPRINTABLE.sub(_escape, super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        """Return the traceback."""
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join("  | " + _UNPRINTABLE.sub(_escape, line) for line in lines)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object, with the time in UTC, the fields of a request and any traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a single line, which the escapes of JSON guarantee."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", "-"),
            **getattr(record, ACCESS, {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
