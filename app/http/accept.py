"""Content negotiation: choose the media type of a response."""

from collections.abc import Sequence

from app.errors import NotAcceptableError

VARY = {"Vary": "Accept"}
"""Header of every response whose media type was negotiated."""


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Return the offered media type that an Accept header prefers, the first of equals.

    Raises:
        NotAcceptableError: the header excludes all of them.
    """
    if not accept or not accept.strip():
        return offered[0]
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    quality = {media_type: _quality(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: quality[media_type])
    if quality[best] <= 0:
        raise NotAcceptableError(
            f"None of the media types in Accept, {accept[:200]!r}, is available; accept {' or '.join(offered)}."
        )
    return best


def _parse_range(text: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in text.split(";"))
    weights = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
    try:
        return name, float(weights[0]) if weights else 1.0
    except ValueError:
        return name, 0.0


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that covers a media type (RFC 9110, 12.5.1)."""
    for name in (media_type, media_type.split("/")[0] + "/*", "*/*"):
        weights = [weight for range_name, weight in ranges if range_name == name]
        if weights:
            return max(weights)
    return 0.0
