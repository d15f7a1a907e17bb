"""Writes the documents that follow from the code: docs/options.md, docs/settings.md and docs/openapi.json.

python -m docs.generate
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.main import create_app
from app.services.option_parsing import RequestOptions
from app.services.options import (
    InspectOptions,
    LatticeOptions,
    PredictOptions,
    ReadingOptions,
    ReloadOptions,
    UserStructureOptions,
)
from app.settings import Settings

DOCS = Path(__file__).resolve().parent

OPTIONS_INTRODUCTION = """# Request options

Generated from `app/services/options.py` by `python -m docs.generate`.

Every option has one name. It is a key of a JSON request, a field of a form and, with dashes, a flag of the command
line: `pixel_size` is `--pixel-size`. In JSON, lists are lists, numbers are numbers, and null means absent. In a form or
a flag, commas separate the elements of a list, semicolons or commas the groups of a nested list (curl's `-F` cuts a
value at its semicolons), and an empty value means absent. Unknown options, and options in the query string, are refused
with a 422.
"""

SECTIONS: tuple[tuple[str, str, type[RequestOptions], type[RequestOptions]], ...] = (
    (
        "Reading a pattern",
        "`/predict`, `/predict/batch`, `/inspect`, `/compare`, `dd2d predict`, `dd2d inspect`",
        ReadingOptions,
        RequestOptions,
    ),
    (
        "The pattern's lattice",
        "`/predict`, `/predict/batch`, `/inspect`, `dd2d predict`, `dd2d inspect`",
        LatticeOptions,
        ReadingOptions,
    ),
    (
        "Searching",
        "`/predict`, `/predict/batch`, `dd2d predict` (which has no `--overlay`)",
        PredictOptions,
        LatticeOptions,
    ),
    ("Inspecting", "`/inspect`", InspectOptions, LatticeOptions),
    ("Adding a structure", "`POST /structures`", UserStructureOptions, RequestOptions),
    ("Switching the index", "`POST /admin/reload`, JSON only", ReloadOptions, RequestOptions),
)

SETTINGS_INTRODUCTION = """# Settings of the service

Generated from `app/settings.py` by `python -m docs.generate`.

`dd2d serve` reads these environment variables. Its command-line flags take precedence.

| variable | default | meaning |
|---|---|---|
"""

SETTINGS_END = """
Patterns of more than 100,000 points, and frames of more than 64 megapixels (16 in color), are refused before decoding.
[limits.md](limits.md) lists every limit; [security.md](security.md) explains keys, rates, origins, hosts and proxies.
"""


def options_document() -> str:
    """Return docs/options.md."""
    return OPTIONS_INTRODUCTION + "".join(_options_section(*section) for section in SECTIONS)


def settings_document() -> str:
    """Return docs/settings.md."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "not set" if field.default is None else f"`{field.default}`"
        rows.append(f"| `DD2D_{name.upper()}` | {default} | {field.description} |")
    return SETTINGS_INTRODUCTION + "\n".join(rows) + "\n" + SETTINGS_END


def openapi_document() -> str:
    """Return docs/openapi.json."""
    return json.dumps(create_app(Settings()).openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


DOCUMENTS = {
    "options.md": options_document,
    "settings.md": settings_document,
    "openapi.json": openapi_document,
}


def _options_section(
    title: str, users: str, options: type[RequestOptions], base: type[RequestOptions]
) -> str:
    lines = [f"\n## {title}\n", f"{users}\n", "| option | value | default | meaning |", "|---|---|---|---|"]
    schemas = options.model_json_schema()["properties"]
    for name, field in options.model_fields.items():
        if name not in base.model_fields:
            default = "" if field.default in (None, []) else f"`{json.dumps(field.default).strip(chr(34))}`"
            lines.append(
                f"| `{name}` | {_value(options, name, schemas[name])} | {default} | {field.description} |"
            )
    return "\n".join(lines) + "\n"


def _value(options: type[RequestOptions], name: str, schema: dict[str, Any]) -> str:
    text_format = options.text_format(name)
    if text_format is None:
        return " or ".join(_alternatives(schema))
    value = getattr(options.from_text([(name, text_format.example)]), name)
    return f"`{json.dumps(value).replace('.0,', ',').replace('.0]', ']')}`, as text `{text_format.example}`"


def _alternatives(schema: dict[str, Any]) -> Iterator[str]:
    for each in schema.get("anyOf", [schema]):
        values = each.get("enum", [each["const"]] if "const" in each else [])
        if values:
            *others, last = (f"`{value}`" for value in values)
            yield f"{', '.join(others)} or {last}" if others else last
        elif each["type"] == "boolean":
            yield "`true` or `false`"
        elif each["type"] == "string":
            yield f"text, at most {each['maxLength']} characters"
        elif each["type"] != "null":
            yield each["type"] + _range(each)


def _range(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None:
        return ""
    return f" from {low:g}" + ("" if high is None else f" to {high:g}")


def main() -> None:
    for name, document in DOCUMENTS.items():
        (DOCS / name).write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
