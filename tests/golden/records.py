"""What is recorded of an answer: all of its numbers, none of its wording."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.golden import renames
from tests.golden.messages import Case, Request, Response, send_request
from tests.golden.service import Service
from tests.golden.translation import (
    Segments,
    find_keys,
    matches_path,
    restore_keys,
    restore_options,
    restore_problem,
    restore_value,
    translate_request,
)

Record = dict[str, Any]

RECORDING = Path(__file__).with_name("recording.jsonl")
DIGITS, ALL_DIGITS = 9, 17
WORDS, VARYING = "<words>", "<varying>"

# Sentences for people, which may be reworded. Of lists the length is recorded.
_WORDING = ("detail", "title", "caveat", "measurement.text", "reference", "warnings", "advice")
# What another run, another version or another index changes. `/` begins a path at the root of the answer.
_CHANGING = (
    *("request_id", "timing_ms", "canary_ms", "overlay", "created"),
    *(f"{where}{key}" for where in ("provenance.", "/") for key in ("version", "model", "index")),
    *(f"provenance_changed.{key}[]" for key in ("version", "model", "index")),
)
_RECORDED_HEADERS = ("retry-after", "www-authenticate", "allow", "location")
_INDEX_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_UNCOUNTED = ("#", "data_", "_dd2d_id", "_dd2d_source")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?![\w.])")


def record_case(service: Service, case: Case) -> Iterator[Record]:
    """Send the requests of a case, and record each answer."""
    answers: list[Response] = []
    for number, step in enumerate(case.steps, start=1):
        request = step if isinstance(step, Request) else step(answers)
        if request is None:
            return
        translated = translate_request(request)
        answer = send_request(service.url, translated, service.keys)
        answers.append(answer)
        name = case.id if len(case.steps) == 1 else f"{case.id}#{number}"
        yield record_answer(name, request, answer)


def record_answer(name: str, request: Request, answer: Response) -> Record:
    """The record of an answer.

    Args:
        name: of the request.
        request: in the words of the recording.
        answer: as it came.
    """
    return {
        "id": name,
        "status": answer.status,
        "content_type": answer.headers.get("content-type", "").lower(),
        "headers": [header for header in _RECORDED_HEADERS if header in answer.headers],
        "body": _read_body(answer, find_keys(request.path)) if request.body_recorded else None,
    }


def _read_body(answer: Response, keys: Mapping[str, str]) -> Any:
    match answer.media_type:
        case "application/json" | "application/problem+json":
            return _restore(answer.json(), keys)
        case "application/x-ndjson":
            lines = answer.content.splitlines()
            return [_restore(json.loads(line), keys) for line in lines if line.strip()]
        case "application/zip":
            return _read_zip(answer.content, keys)
        case "chemical/x-cif":
            return fingerprint_cif(answer.content.decode())
    return None


def _read_zip(content: bytes, keys: Mapping[str, str]) -> list[Record]:
    members = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            text = archive.read(name).decode()
            holds = _restore(json.loads(text), keys) if name.endswith(".json") else fingerprint_cif(text)
            members.append({"name": name, "content": holds})
    return members


def _restore(answer: Any, keys: Mapping[str, str]) -> Any:
    """An answer in the words of the recording, without wording and without what changes."""
    return _settled(restore_keys(renames.restore_shape(answer), keys), ())


def _settled(value: Any, path: Segments) -> Any:
    if _is_any(_CHANGING, path) and not _is_line_number(value):
        return None if value is None else VARYING
    if isinstance(value, str) and _INDEX_VERSION.fullmatch(value):
        return VARYING
    if _is_any(_WORDING, path):
        return len(value) if isinstance(value, list) else None if value is None else WORDS
    if matches_path("cif", path) and isinstance(value, str):
        return fingerprint_cif(value)
    if matches_path("/type", path) or matches_path("problem.type", path):
        return restore_problem(re.split(r"urn:\w+:problem:|[/]", str(value))[-1])
    if matches_path("query.options", path) and isinstance(value, dict):
        return restore_options(value)
    if isinstance(value, dict):
        return {key: _settled(each, (*path, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_settled(each, (*path, f"[{row}]")) for row, each in enumerate(value)]
    return restore_value(path, value)


def _is_any(patterns: tuple[str, ...], path: Segments) -> bool:
    return any(matches_path(pattern, path) for pattern in patterns)


def _is_line_number(value: Any) -> bool:
    """The `index` of a line of a batch is a number; that of a version is a digest."""
    return isinstance(value, int)


def fingerprint_cif(text: str) -> Record:
    """A CIF in short: a digest of its words, and the number and a weighted mean of its numbers.

    Comments, blank lines, and the lines that name the structure are ignored: its id is recorded beside it. The last
    digits of a number may differ between processors; words may not.
    """
    lines = [" ".join(line.split()) for line in text.splitlines()]
    content = "\n".join(line for line in lines if line and not line.startswith(_UNCOUNTED))
    numbers = [float(each) for each in _NUMBER.findall(content)]
    words = _NUMBER.sub("#", content)
    weighted = sum((place % 97 + 1) * number for place, number in enumerate(numbers))
    return {
        "words": hashlib.sha256(words.encode()).hexdigest()[:12],
        "numbers": len(numbers),
        "mean": weighted / max(len(numbers), 1),
    }


def read_recording(path: Path = RECORDING) -> dict[str, Record]:
    """The records of a recording, by the names of their requests."""
    with path.open(encoding="utf-8") as lines:
        return {record["id"]: record for record in map(json.loads, lines)}


def write_recording(records: list[Record], path: Path = RECORDING, digits: int = DIGITS) -> None:
    """Write a recording, a line for each request.

    Args:
        records: in the order of the requests.
        path: of the file.
        digits: significant digits of the numbers.
    """
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            line = json.dumps(round_numbers(record, digits), sort_keys=True, ensure_ascii=False)
            file.write(line + "\n")


def round_numbers(value: Any, digits: int) -> Any:
    """A JSON value whose numbers have so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: round_numbers(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [round_numbers(each, digits) for each in value]
    return value
