"""docs/openapi.json is what the code says; DD2D_WRITE_OPENAPI=1 with this test writes it anew."""

import json
import os
from collections.abc import Iterator
from difflib import unified_diff
from typing import Any

import pytest

from app.main import create_app
from app.services.options import NAMES
from app.settings import Settings
from tests.paths import ROOT

REWRITE = "DD2D_WRITE_OPENAPI=1 python -m pytest tests/app/http/test_openapi.py"
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def test_the_committed_document_is_that_of_the_code(document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    path = DOCS / "openapi.json"
    if os.environ.get("DD2D_WRITE_OPENAPI"):
        path.write_text(text, encoding="utf-8")
    told = changes(path.read_text(encoding="utf-8"), text)
    assert not told, (
        f"the interface has changed; if it should, {REWRITE} writes docs/openapi.json anew:\n{told}"
    )


def changes(committed: str, made: str) -> str:
    """What differs, line by line."""
    before, after = committed.split("\n"), made.split("\n")
    return "\n".join(unified_diff(before, after, "docs/openapi.json", "the code", lineterm="", n=4))


def test_a_change_is_told_with_its_lines(document: dict[str, Any]) -> None:
    before = json.dumps(document, indent=1, sort_keys=True)
    told = changes(before, before.replace('"/livez"', '"/alive"'))
    assert [line for line in told.split("\n") if line.startswith(("-  ", "+  "))] == [
        '-  "/livez": {',
        '+  "/alive": {',
    ]
    assert changes(before, before) == ""


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert "Problem" in named
    assert named <= set(document["components"]["schemas"])


def test_both_bodies_list_every_option(document: dict[str, Any]) -> None:
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    form = set(content["multipart/form-data"]["schema"]["properties"])
    points = set(content["application/json"]["schema"]["properties"])
    assert form == {"file", *NAMES}
    assert points == {"points", *NAMES}


def test_the_guide_tells_every_option_path_and_problem(document: dict[str, Any]) -> None:
    guide = (DOCS / "http-api.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in guide] == []
    assert [path for path in document["paths"] if path not in guide] == []
    responses = {
        status
        for path in document["paths"].values()
        for each in path.values()
        for status in each["responses"]
    }
    failures = {status for status in responses if not status.startswith("2")}
    assert [status for status in sorted(failures) if f"| {status} |" not in guide] == []
