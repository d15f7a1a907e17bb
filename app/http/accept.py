"""Which form of an answer a client wants, and the forms themselves."""

import io
import re
import zipfile
from collections.abc import Sequence

from app.errors import NotAcceptableError
from app.presentation.schemas import Answer
from app.services.predict import Prediction

JSON = "application/json"
CIF = "chemical/x-cif"
ZIP = "application/zip"
SVG = "image/svg+xml"
PNG = "image/png"
NDJSON = "application/x-ndjson"


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """The media type of the offered ones that an Accept header likes best, the first of equals.

    Raises:
        NotAcceptableError: none of them.
    """
    if not accept or not accept.strip():
        return offered[0]
    ranges = [_parsed(part) for part in accept.split(",") if part.strip()]
    quality = {kind: _quality(kind, ranges) for kind in offered}
    best = max(offered, key=lambda kind: quality[kind])
    if quality[best] <= 0:
        raise NotAcceptableError(f"Accept is {accept[:200]!r}; this can be given as {', '.join(offered)}")
    return best


def _parsed(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
    try:
        return name, float(weights[0]) if weights else 1.0
    except ValueError:
        return name, 0.0


def _quality(kind: str, ranges: list[tuple[str, float]]) -> float:
    """The most specific range that covers a type decides (RFC 9110, 12.5.1)."""
    for name in (kind, kind.split("/")[0] + "/*", "*/*"):
        weights = [weight for given, weight in ranges if given == name]
        if weights:
            return max(weights)
    return 0.0


def written(prediction: Prediction, media_type: str) -> bytes:
    """The answer in one of its forms.

    Raises:
        NotAcceptableError: a CIF is wanted and there is no candidate.
    """
    answer = prediction.answer
    if media_type == SVG:
        return prediction.drawn().encode()
    if media_type == CIF:
        if not answer.candidates:
            raise NotAcceptableError(
                "no crystal meets the condition on the elements, so there is no CIF; application/json says so too"
            )
        return answer.candidates[0].cif.encode()
    content = answer.model_dump_json().encode()
    return content if media_type == JSON else _zipped(answer, content)


def _zipped(answer: Answer, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("answer.json", content)
        for candidate in answer.candidates:
            name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{candidate.formula}_{candidate.id}")[:80]
            archive.writestr(f"{candidate.rank:03d}_{name}.cif", candidate.cif)
    return buffer.getvalue()
