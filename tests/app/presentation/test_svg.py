"""SVG elements are well-formed whatever text they contain."""

from xml.etree import ElementTree

import pytest

from app.presentation.svg import (
    cross_segments,
    write_circle,
    write_document,
    write_element,
    write_lines,
    write_text,
)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a & b", "\x00\x1b\ud800", '"quoted"', "Å²"])
def test_any_text_is_escaped(text: str) -> None:
    element = write_element("g", write_text("text", text, class_="small"), id="<&>")
    (child,) = ElementTree.fromstring(element)
    shown = text if text.isprintable() else "\N{REPLACEMENT CHARACTER}" * len(text)
    assert (child.tag, child.text, child.get("class")) == ("text", shown, "small")


def test_numbers_are_rounded_and_underscores_become_hyphens() -> None:
    circle = ElementTree.fromstring(write_circle(1.26, 2, 3, stroke_width=1.5, class_="spot"))
    assert circle.attrib == {"cx": "1.3", "cy": "2.0", "r": "3.0", "stroke-width": "1.5", "class": "spot"}


def test_a_cross_is_one_path_of_two_lines() -> None:
    path = ElementTree.fromstring(write_lines(cross_segments(10, 20, 4)))
    assert path.get("d") == "M6.0 16.0L14.0 24.0M6.0 24.0L14.0 16.0"


def test_a_document_has_a_size_and_a_title() -> None:
    root = ElementTree.fromstring(write_document(30, 20, "A <title>", [write_circle(1, 1, 1)]))
    assert root.get("viewBox") == "0 0 30 20"
    assert [child.tag.rpartition("}")[2] for child in root] == ["title", "circle"]
    assert root[0].text == "A <title>"
