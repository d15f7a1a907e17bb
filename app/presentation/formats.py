"""The media types of the answers, and the answer of a prediction as CIF and as ZIP."""

import io
import re
import zipfile

from app.errors import NotAcceptableError
from app.presentation.schemas.predict import Answer

JSON = "application/json"
CIF = "chemical/x-cif"
ZIP = "application/zip"
SVG = "image/svg+xml"
PNG = "image/png"
NDJSON = "application/x-ndjson"
PROBLEM_JSON = "application/problem+json"


def get_first_cif(answer: Answer) -> bytes:
    """Return the CIF of the first candidate.

    Raises:
        NotAcceptableError: there is no candidate.
    """
    if not answer.candidates:
        raise NotAcceptableError(
            "No crystal satisfies the conditions on the elements, so there is no CIF; accept application/json."
        )
    return answer.candidates[0].cif.encode()


def write_zip(answer: Answer) -> bytes:
    """Return an archive of the whole answer as JSON and of every candidate as CIF."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("answer.json", answer.model_dump_json().encode())
        for candidate in answer.candidates:
            name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{candidate.formula}_{candidate.id}")[:80]
            archive.writestr(f"{candidate.rank:03d}_{name}.cif", candidate.cif)
    return buffer.getvalue()
