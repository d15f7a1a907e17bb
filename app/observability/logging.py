"""The log: one line a record, for people or for machines, with the id of the request that it belongs to."""

import json
import logging
import re
import sys
import warnings
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
"""Of the request that is being handled; `-` outside of one.

`asyncio.to_thread` and tasks take it along; a bare `Executor.submit` and a process do not, so jobs carry it themselves.
"""

ACCESS = "access"
"""Name of the `extra` that the line of a request has: its fields for the JSON form."""

# Controls, C1 controls, Unicode's line ends and its marks that turn the direction of writing: with none of them left,
# no name of a file can end a line, begin another, or colour a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TEXT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"


def set_up_log(level: str, form: Literal["text", "json"]) -> None:
    """Log to standard error, of libraries what is a warning at least; Python's own warnings only with `python -W`."""
    handler = logging.StreamHandler()
    handler.addFilter(add_request_id)
    handler.setFormatter(JsonLines() if form == "json" else TextLines(_TEXT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    # Libraries warn of odd content in the content's own words, and Python keeps each different text for good.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name in ("app", "index", "model", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    # It reports each odd tag of each upload as an error; what cannot be read is told to who sent it.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def add_request_id(record: logging.LogRecord) -> bool:
    """A filter of handlers, so that the lines of every library have the id too."""
    record.request_id = REQUEST_ID.get()
    return True


class TextLines(logging.Formatter):
    """A line for people. The lines of a trace stand behind a bar, which no record begins with."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's own name
        """The line, whatever is in it."""
        return _UNPRINTABLE.sub(_escaped, super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        """The trace."""
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join("  | " + _UNPRINTABLE.sub(_escaped, line) for line in lines)


class JsonLines(logging.Formatter):
    """An object a line, with the time in UTC; of a request its fields, of an error its trace."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; JSON's own escapes keep it one."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", "-"),
            **getattr(record, ACCESS, {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")
