"""JSON that came with a request, refused before it is decoded where it would take too much memory."""

from codecs import BOM_UTF8
from typing import Any

from pydantic_core import from_json

from model.errors import OptionError, UnreadableError
from model.pattern.points.point_table import MAX_POINTS, check_bracket_count

MOST_KEYS = 64


def json_object(data: bytes, wanted: str, most_points: int = MAX_POINTS) -> dict[str, Any]:
    """The object that a JSON text is.

    Args:
        data: the text, with a byte order mark or without.
        wanted: what should have come, as the end of a sentence that says what is wrong.
        most_points: points, or other lists and objects, that it may hold.

    Raises:
        TooLargeError: more of them.
        UnreadableError: no JSON, or nested too deep.
        OptionError: no object, or one of too many keys.
    """
    check_bracket_count(data.count(b"[") + data.count(b"{"), most_points)
    try:
        content = from_json(data.removeprefix(BOM_UTF8))
    except ValueError as error:
        raise UnreadableError(f"the request is no JSON: {error}; {wanted}") from None
    if not isinstance(content, dict):
        raise OptionError(f"the request is no JSON object; {wanted}")
    if len(content) > MOST_KEYS:
        raise OptionError(f"the request has {len(content)} keys; {wanted}")
    return content
