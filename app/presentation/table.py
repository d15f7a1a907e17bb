"""Answers to many patterns as a table: a row for each, as CSV or JSON."""

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


def row_of(line: dict[str, Any]) -> dict[str, Any]:
    """The row of a line of `POST /predict/batch`: what was found first, or why nothing was."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"file": line["name"], "image": line["image"]}
    if line["problem"] is not None:
        return row | {"error": line["problem"]["detail"]}
    answer, query = line["answer"], line["answer"]["query"]
    row |= {
        "verdict": answer["verdict"],
        "confidence_set_size": None if answer["confidence_set"] is None else answer["confidence_set"]["size"],
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


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """With a header; what is not known is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def as_json(lines: Sequence[dict[str, Any]]) -> str:
    """The whole answers, a list."""
    return json.dumps(lines, indent=1) + "\n"
