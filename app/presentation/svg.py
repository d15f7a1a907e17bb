"""Write SVG pictures as text. They contain no scripts, and text is escaped."""

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

Attribute = str | float
Segment = tuple[float, float, float, float]
"""x and y of the start, x and y of the end."""

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_document(width: int, height: int, title: str, elements: Iterable[str]) -> str:
    """Write a document with a title for screen readers."""
    return write_element(
        "svg",
        write_text("title", title),
        *elements,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
    )


def write_element(name: str, /, *content: str, **attributes: Attribute) -> str:
    """Write an element.

    Args:
        name: of the element.
        content: elements or escaped text inside it, a line each.
        attributes: underscores stand for hyphens, one at the end is dropped; numbers are rounded to 0.1.
    """
    written = "".join(f" {_write_attribute(key, value)}" for key, value in attributes.items())
    if not content:
        return f"<{name}{written}/>"
    inside = "\n".join(content)
    return f"<{name}{written}>{inside}</{name}>"


def write_text(name: str, text: str, /, **attributes: Attribute) -> str:
    """Write an element that contains text. Characters that XML does not allow are replaced."""
    return write_element(name, escape(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)), **attributes)


def write_circle(x: float, y: float, radius: float, **attributes: Attribute) -> str:
    """Write a circle."""
    return write_element("circle", cx=float(x), cy=float(y), r=float(radius), **attributes)


def write_lines(segments: Iterable[Segment], **attributes: Attribute) -> str:
    """Write straight lines as one path."""
    path = "".join(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" for x1, y1, x2, y2 in segments)
    return write_element("path", d=path, **attributes)


def cross_segments(x: float, y: float, arm: float) -> tuple[Segment, Segment]:
    """Return the two lines of a diagonal cross; `arm` is half of its width."""
    return (x - arm, y - arm, x + arm, y + arm), (x - arm, y + arm, x + arm, y - arm)


def _write_attribute(name: str, value: Attribute) -> str:
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return f"{name.rstrip('_').replace('_', '-')}={quoteattr(text)}"
