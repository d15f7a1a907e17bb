"""The log: one line per record whatever its content, with the id of the request."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.observability.logging import MAX_LINES_PER_SECOND, REQUEST_ID, configure_logging
from app.settings import Settings
from app.workers.handlers import JobHandler
from app.workers.messages import CanaryJob, JobBatch
from app.workers.wire import encode_message, read_message
from index.search.results import SearchResult
from tests.app.stand_in import StandIn

Form = Literal["text", "json"]
HOSTILE = (
    "frame.tif\n2026-01-01 00:00:00,000 INFO app.security [-]: key admin\r\x1b[31mred\x85\u2028\u202e.png"
)


class LogOutput:
    """What has been written to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Iterator[LogOutput]:
    """Restore the logging configuration afterwards."""
    root = logging.getLogger()
    named = [logging.getLogger(name) for name in ("app", "index", "model", "uvicorn", "tifffile")]
    handlers, levels = root.handlers[:], [each.level for each in (root, *named)]
    root.handlers.clear()  # those of pytest, which configure_logging would close
    yield LogOutput(capsys)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for each, level in zip((root, *named), levels, strict=True):
        each.setLevel(level)


class LoggingStandIn(StandIn):
    """Logs from the thread that computes."""

    def search(self, *args: Any, **kwargs: Any) -> SearchResult:
        logging.getLogger("index.stand_in").info("searching")
        logging.getLogger("PIL.stand_in").warning("a library warns")
        return super().search(*args, **kwargs)


@pytest.mark.parametrize("form", ["text", "json"])
def test_content_cannot_start_a_line_of_its_own(output: LogOutput, form: Form) -> None:
    configure_logging("info", form)
    logging.getLogger("app.test").warning("cannot read %s", HOSTILE)
    text = output.text()
    assert len(text.splitlines()) == 1
    assert text.isprintable() is False
    assert text.rstrip("\n").isprintable()
    assert "frame.tif" in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_cannot_forge_a_record(output: LogOutput, form: Form) -> None:
    configure_logging("info", form)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("app.test").exception("a reader broke")
    first, *rest = output.text().splitlines()
    assert "a reader broke" in first
    if form == "json":
        assert rest == []
        assert "ValueError: frame.tif" in json.loads(first)["exception"]
    else:
        assert len(rest) >= 4
        assert all(line.startswith("  | ") for line in rest)


def test_the_access_log_of_a_request_is_a_json_object(output: LogOutput) -> None:
    configure_logging("info", "json")
    with TestClient(create_app(Settings(), StandIn())) as client:
        client.get("/structures/graphene/cif?secret=1", headers={"X-Request-ID": "mine"})
    records = [each for each in output.objects() if each["logger"] == "app.http.middleware"]
    assert len(records) == 1
    assert records[0] | {"time": "", "message": "", "ms": 0} == {
        "time": "", "level": "info", "logger": "app.http.middleware", "message": "", "request_id": "mine",
        "method": "GET", "path": "/structures/graphene/cif", "route": "/structures/{id}/cif", "status": 200,
        "ms": 0, "key": None, "client": "testclient", "problem": None,
    }  # fmt: skip
    time = datetime.fromisoformat(records[0]["time"])
    assert time.tzinfo == UTC
    assert "secret" not in output.text()


def test_every_line_of_a_request_carries_its_id(output: LogOutput, points: Any) -> None:
    configure_logging("info", "json")
    with TestClient(create_app(Settings(), LoggingStandIn())) as client:
        for id in ("one", "two"):
            client.post("/predict", json={"points": points}, headers={"X-Request-ID": id})
        client.get("/readyz", headers={"X-Request-ID": "three"})
    lines = [(each["request_id"], each["logger"]) for each in output.objects() if each["request_id"] != "-"]
    names = ["index.stand_in", "PIL.stand_in", "app.http.middleware"]
    assert lines == [(id, name) for id in ("one", "two", "three") for name in names]


def test_a_text_line_carries_level_logger_and_request_id(output: LogOutput) -> None:
    configure_logging("warning", "text")
    token = REQUEST_ID.set("mine")
    logging.getLogger("uvicorn.error").warning("logged")
    logging.getLogger("uvicorn.error").info("not logged")
    REQUEST_ID.reset(token)
    (line,) = output.text().splitlines()
    assert line.endswith(" WARNING uvicorn.error [mine]: logged")


def test_warnings_of_libraries_are_not_logged(output: LogOutput) -> None:
    configure_logging("info", "text")
    warnings.warn(f"odd: {HOSTILE}", UserWarning, stacklevel=1)
    assert output.text() == ""


def test_enabled_warnings_are_logged(output: LogOutput) -> None:
    configure_logging("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = output.objects()
    assert line["logger"] == "py.warnings"


def test_the_content_of_an_upload_is_not_logged(output: LogOutput) -> None:
    configure_logging("info", "text")
    with TestClient(create_app(Settings(), StandIn())) as client:
        client.post("/predict", files={"file": (HOSTILE, b"top,secret\n1,2\n")})
        client.post(
            "/predict",
            content=b'{"points": [["top secret", 1, 1]]}',
            headers={"Content-Type": "application/json"},
        )
    assert "secret" not in output.text()
    assert "frame.tif" not in output.text()
    assert all(line[:4].isdigit() for line in output.text().splitlines())


def test_a_job_carries_the_id_of_its_request_into_a_process() -> None:
    token = REQUEST_ID.set("mine")
    batch = JobBatch((CanaryJob(),))
    REQUEST_ID.reset(token)
    received = read_message(io.BytesIO(b"".join(encode_message(batch))))
    assert received == batch
    assert batch.jobs[0].request_id == "mine"


def test_an_error_in_a_worker_is_logged_with_the_request_id(
    output: LogOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("info", "json")
    handler = JobHandler(StandIn())
    monkeypatch.setattr(handler, "_handle", lambda _job: 1 / 0)
    handler.handle([CanaryJob(request_id="mine")], lambda *_: None, lambda _: None)
    (line,) = output.objects()
    assert (line["level"], line["request_id"]) == ("error", "mine")
    assert "ZeroDivisionError" in line["exception"]


def count_lines(output: LogOutput, text: str) -> int:
    return sum(text in line for line in output.text().splitlines())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time at which records are created, to be changed by the test."""
    now = [1000.0]
    monkeypatch.setattr("logging.time.time", lambda: now[0])
    return now


def test_a_flood_of_one_kind_of_line_is_cut_and_counted(output: LogOutput, clock: list[float]) -> None:
    configure_logging("info", "text")
    for number in range(1000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource %d", number)
    logging.getLogger("app.test").warning("another kind")
    assert count_lines(output, "out of system resource") == MAX_LINES_PER_SECOND
    assert count_lines(output, "another kind") == 1
    clock[0] += 1
    logging.getLogger("app.test").info("later")
    dropped = 1000 - MAX_LINES_PER_SECOND
    assert count_lines(output, f"ERROR asyncio [-]: {dropped} lines from test_logging.py:") == 1
    assert count_lines(output, "later") == 1
    clock[0] += 1
    logging.getLogger("app.test").info("later")
    assert count_lines(output, "were dropped") == 1


def test_refused_requests_are_cut_and_others_are_not(output: LogOutput, clock: list[float]) -> None:
    configure_logging("info", "text")
    number = 2 * MAX_LINES_PER_SECOND
    with TestClient(create_app(Settings(), StandIn())) as client:
        for _ in range(number):
            client.get("/nowhere")
            client.get("/livez")
        clock[0] += 1
        client.get("/livez")
    assert count_lines(output, " GET /livez 200 ") == number + 1
    assert count_lines(output, " GET /nowhere 404 ") == MAX_LINES_PER_SECOND
    dropped = number - MAX_LINES_PER_SECOND
    assert count_lines(output, f"{dropped} lines with status 404 from middleware.py:") == 1
