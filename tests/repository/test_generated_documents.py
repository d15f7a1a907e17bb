"""The documents that `python -m docs.generate` writes are committed as the code says."""

from difflib import unified_diff

import pytest

from app.services.option_parsing import RequestOptions
from app.services.options import InspectOptions, PredictOptions, ReloadOptions, UserStructureOptions
from docs.generate import DOCS, DOCUMENTS, SECTIONS


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_committed_document_is_current(name: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")
    diff = difference(committed, DOCUMENTS[name]())
    assert not diff, f"`python -m docs.generate` writes docs/{name} anew; review the change:\n{diff}"


def difference(committed: str, generated: str) -> str:
    before, after = committed.split("\n"), generated.split("\n")
    return "\n".join(unified_diff(before, after, "committed", "generated", lineterm="", n=4))


def test_a_difference_is_shown_line_by_line() -> None:
    before = DOCUMENTS["openapi.json"]()
    diff = difference(before, before.replace('"/livez"', '"/alive"'))
    assert [line for line in diff.split("\n") if line.startswith(("-  ", "+  "))] == [
        '-  "/livez": {',
        '+  "/alive": {',
    ]
    assert difference(before, before) == ""


@pytest.mark.parametrize("options", [InspectOptions, PredictOptions, UserStructureOptions, ReloadOptions])
def test_the_sections_of_the_options_list_every_option_once(options: type[RequestOptions]) -> None:
    listed = [
        name
        for _, _, section, base in SECTIONS
        if issubclass(options, section)
        for name in section.model_fields
        if name not in base.model_fields
    ]
    assert sorted(listed) == sorted(options.model_fields)


@pytest.mark.parametrize("options", [InspectOptions, PredictOptions, UserStructureOptions, ReloadOptions])
def test_every_option_has_a_description(options: type[RequestOptions]) -> None:
    assert all(field.description for field in options.model_fields.values())
