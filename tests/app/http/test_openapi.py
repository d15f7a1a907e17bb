"""The OpenAPI document is complete: its references resolve, and it lists every option, path and problem."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.main import create_app
from app.services.options import PredictOptions
from app.settings import Settings
from tests.paths import ROOT

NAMES = tuple(PredictOptions.model_fields)
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def list_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from list_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from list_references(value)


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    names = {reference.removeprefix("#/components/schemas/") for reference in list_references(document)}
    assert "Problem" in names
    assert names <= set(document["components"]["schemas"])


def test_both_bodies_list_every_option(document: dict[str, Any]) -> None:
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    form = set(content["multipart/form-data"]["schema"]["properties"])
    points = set(content["application/json"]["schema"]["properties"])
    assert form == {"file", *NAMES}
    assert points == {"points", *NAMES}


def test_the_guide_lists_every_path_and_problem_and_links_to_the_options(document: dict[str, Any]) -> None:
    guide = (DOCS / "http-api.md").read_text(encoding="utf-8")
    assert "(options.md)" in guide
    assert [path for path in document["paths"] if path not in guide] == []
    responses = {
        status
        for path in document["paths"].values()
        for each in path.values()
        for status in each["responses"]
    }
    failures = {status for status in responses if not status.startswith("2")}
    assert [status for status in sorted(failures) if f"| {status} |" not in guide] == []
