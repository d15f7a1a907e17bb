"""Lines of the log: one a record whatever is in it, with the request's id wherever they are logged."""

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
from app.observability.logging import REQUEST_ID, set_up_log
from app.settings import Settings
from app.workers import wire
from app.workers import worker as process
from app.workers.handlers import Desk
from app.workers.messages import Job
from index.search.results import SearchResult
from tests.app.stand_in import StandIn

Form = Literal["text", "json"]
HOSTILE = (
    "frame.tif\n2026-01-01 00:00:00,000 INFO app.security [-]: key admin\r\x1b[31mred\x85\u2028\u202e.png"
)


class Written:
    """What has gone to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Logging is as it was afterwards."""
    root = logging.getLogger()
    named = [logging.getLogger(name) for name in ("app", "index", "model", "uvicorn", "tifffile")]
    handlers, levels = root.handlers[:], [each.level for each in (root, *named)]
    root.handlers.clear()  # those of pytest, which set_up_log would close
    yield Written(capsys)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for each, level in zip((root, *named), levels, strict=True):
        each.setLevel(level)


class Talking(StandIn):
    """Logs from the thread that computes."""

    def search(self, *args: Any, **kwargs: Any) -> SearchResult:
        logging.getLogger("index.talking").info("searching")
        logging.getLogger("PIL.talking").warning("a library warns")
        return super().search(*args, **kwargs)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_content_makes_a_line_of_its_own(written: Written, form: Form) -> None:
    set_up_log("info", form)
    logging.getLogger("app.test").warning("cannot read %s", HOSTILE)
    text = written.text()
    assert len(text.splitlines()) == 1
    assert text.isprintable() is False
    assert text.rstrip("\n").isprintable()
    assert "frame.tif" in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_trace_makes_a_line_that_looks_like_a_record(written: Written, form: Form) -> None:
    set_up_log("info", form)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("app.test").exception("a reader broke")
    first, *rest = written.text().splitlines()
    assert "a reader broke" in first
    if form == "json":
        assert rest == []
        assert "ValueError: frame.tif" in json.loads(first)["exception"]
    else:
        assert len(rest) >= 4
        assert all(line.startswith("  | ") for line in rest)


def test_a_request_is_an_object(written: Written) -> None:
    set_up_log("info", "json")
    with TestClient(create_app(Settings(), StandIn())) as client:
        client.get("/structures/graphene/cif?secret=1", headers={"X-Request-ID": "mine"})
    told = [each for each in written.objects() if each["logger"] == "app.http.middleware"]
    assert len(told) == 1
    assert told[0] | {"time": "", "message": "", "ms": 0} == {
        "time": "", "level": "info", "logger": "app.http.middleware", "message": "", "request_id": "mine",
        "method": "GET", "path": "/structures/graphene/cif", "route": "/structures/{id}", "status": 200,
        "ms": 0, "key": None, "client": "testclient", "problem": None,
    }  # fmt: skip
    at = datetime.fromisoformat(told[0]["time"])
    assert at.tzinfo == UTC
    assert "secret" not in written.text()


def test_every_line_of_a_request_has_its_id(written: Written, points: Any) -> None:
    set_up_log("info", "json")
    with TestClient(create_app(Settings(), Talking())) as client:
        for id in ("one", "two"):
            client.post("/predict", json={"points": points}, headers={"X-Request-ID": id})
        client.get("/readyz", headers={"X-Request-ID": "three"})
    told = [(each["request_id"], each["logger"]) for each in written.objects() if each["request_id"] != "-"]
    names = ["index.talking", "PIL.talking", "app.http.middleware"]
    assert told == [(id, name) for id in ("one", "two", "three") for name in names]


def test_a_line_for_people_begins_with_what_is_needed(written: Written) -> None:
    set_up_log("warning", "text")
    token = REQUEST_ID.set("mine")
    logging.getLogger("uvicorn.error").warning("told")
    logging.getLogger("uvicorn.error").info("not told")
    REQUEST_ID.reset(token)
    (line,) = written.text().splitlines()
    assert line.endswith(" WARNING uvicorn.error [mine]: told")


def test_libraries_warn_of_no_upload(written: Written) -> None:
    set_up_log("info", "text")
    warnings.warn(f"odd: {HOSTILE}", UserWarning, stacklevel=1)
    assert written.text() == ""


def test_warnings_that_are_asked_for_are_lines_too(written: Written) -> None:
    set_up_log("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = written.objects()
    assert line["logger"] == "py.warnings"


def test_an_upload_leaves_nothing_of_itself_in_the_log(written: Written) -> None:
    set_up_log("info", "text")
    with TestClient(create_app(Settings(), StandIn())) as client:
        client.post("/predict", files={"file": (HOSTILE, b"top,secret\n1,2\n")})
        client.post(
            "/predict",
            content=b'{"points": [["top secret", 1, 1]]}',
            headers={"Content-Type": "application/json"},
        )
    assert "secret" not in written.text()
    assert "frame.tif" not in written.text()
    assert all(line[:4].isdigit() for line in written.text().splitlines())


def test_a_job_takes_the_id_of_its_request_into_a_process() -> None:
    token = REQUEST_ID.set("mine")
    job = Job("canary")
    REQUEST_ID.reset(token)
    head = {"place": 0, "of": 1, "kind": job.kind, "asked": job.asked, "request_id": job.request_id}
    (received,) = process._batch(io.BytesIO(b"".join(wire.packed(head, ()))))
    assert received == job
    assert received.request_id == "mine"


def test_what_breaks_in_a_worker_is_told_with_the_id(written: Written) -> None:
    set_up_log("info", "json")
    Desk(StandIn()).compute([Job("structure", {}, (), "mine")], lambda *_: None)
    (line,) = written.objects()
    assert (line["level"], line["request_id"]) == ("error", "mine")
    assert "KeyError" in line["exception"]
