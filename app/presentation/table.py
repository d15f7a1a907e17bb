"""Write the answers to many patterns as a CSV or JSON table with a row for each pattern."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

COLUMNS = (
    "file",
    "image",
    "verdict",
    "formula",
    "id",
    "source",
    "probability",
    "similarity",
    "r_factor",
    "tilt_deg",
    "confidence_set_size",
    "spots",
    "pixel_size",
    "warnings",
    "error",
)


def tabulate(line: dict[str, Any]) -> dict[str, Any]:
    """Return the row for a line of `POST /predict/batch`: its first candidate, or its error."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"file": line["name"], "image": line["image"]}
    if line["problem"] is not None:
        return row | {"error": line["problem"]["detail"]}
    answer, query, confidence_set = line["answer"], line["answer"]["query"], line["answer"]["confidence_set"]
    row |= {
        "verdict": answer["verdict"],
        "confidence_set_size": None if confidence_set is None else confidence_set["size"],
        "spots": query["spots"],
        "pixel_size": query["pixel_size"],
        "warnings": " ".join(query["warnings"]),
    }
    if not answer["candidates"]:
        return row
    first = answer["candidates"][0]
    match = first["match"] or {}
    return row | {
        **{name: first[name] for name in ("formula", "id", "source", "probability", "similarity")},
        "r_factor": match.get("r_factor"),
        "tilt_deg": match.get("tilt_deg"),
    }


def write_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows as CSV with a header. Unknown values are empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_json(lines: Sequence[dict[str, Any]]) -> str:
    """Write the complete lines as a JSON list."""
    return json.dumps(lines, indent=1) + "\n"
