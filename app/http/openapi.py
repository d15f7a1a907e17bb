"""What the OpenAPI document says where a type annotation cannot."""

from typing import Any

from fastapi import FastAPI

from app.http.read_body import MAX_BATCH_FILES
from app.presentation.formats import NDJSON
from app.presentation.schemas.batch import BatchLine
from app.presentation.schemas.compare import ComparisonSchema
from app.presentation.schemas.inspect import Inspection
from app.presentation.schemas.predict import Answer
from app.presentation.schemas.replay import Replay
from app.presentation.schemas.service import Problem, ServedIndex
from app.presentation.schemas.structures import Structure, UserStructureSchema
from app.services.option_parsing import RequestOptions
from app.services.options import (
    InspectOptions,
    PredictOptions,
    ReadingOptions,
    ReloadOptions,
    UserStructureOptions,
)
from model.matching.compare import MAX_STRUCTURES, MIN_STRUCTURES

Responses = dict[int | str, dict[str, Any]]

_PROBLEM_REFERENCE = {"$ref": "#/components/schemas/Problem"}
_TOLD = {
    400: "The upload is damaged or cannot be read.",
    401: "No key, or one that is not valid; only of services with keys.",
    403: "The key's role does not suffice.",
    404: "No crystal with this id.",
    406: "The answer cannot be given in a form that Accept allows.",
    408: "The request came too slowly, or not to its end.",
    409: "The id is another structure's, or it cannot be done with what is there; the detail says why.",
    413: "The upload is larger than the service takes.",
    415: "The upload is of no known format.",
    422: "An option cannot be used, or the upload holds no spots or no two-dimensional crystal.",
    429: "Too many requests wait, or came in a row; Retry-After says when to try again.",
    503: "Model or index cannot answer, or not in time; Retry-After says when to try again.",
}


def _problems(*statuses: int) -> Responses:
    content = {"application/problem+json": {"schema": _PROBLEM_REFERENCE}}
    return {
        status: {"description": _TOLD[status], "content": content}
        | ({"headers": _RETRY_AFTER} if status in {429, 503} else {})
        | ({"headers": _CHALLENGE} if status == 401 else {})
        for status in statuses
    }


_CHALLENGE = {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
_TEXT = {"schema": {"type": "string"}}


def _option_schemas(kind: type[RequestOptions]) -> dict[str, Any]:
    properties: dict[str, Any] = kind.model_json_schema()["properties"]
    for schema in properties.values():
        schema.pop("title", None)
    return properties


def _point_schema() -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": 100_000,
        "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3},
        "description": "[x, y] or [x, y, intensity]; in 1/angstrom and 1/nm the direct beam is the origin.",
    }


def _body(kind: type[RequestOptions], in_form: dict[str, Any], in_json: dict[str, Any]) -> dict[str, Any]:
    """A request's body: the pattern, the options, and what else it needs in either form."""
    options = _option_schemas(kind)
    file = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "description": "A camera frame of any software, or a point cloud (JSON, CSV, text).",
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", *in_form],
                    "additionalProperties": False,
                    "properties": {"file": file, **in_form, **options},
                },
                "encoding": {
                    name: {"style": "form", "explode": False}
                    for name in options
                    if (text_format := kind.text_format(name)) and text_format.is_comma_list
                },
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["points", *in_json],
                    "additionalProperties": False,
                    "properties": {"points": _point_schema(), **in_json, **options},
                }
            },
        },
    }


PREDICT_BODY = _body(PredictOptions, {}, {})

_FILES: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_BATCH_FILES,
    "items": {"type": "string", "contentMediaType": "application/octet-stream"},
    "description": "Frames and point clouds, zips of them, or files of many images, each of which is a pattern.",
}
_BATCH_FORM = PREDICT_BODY["content"]["multipart/form-data"]
BATCH_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            **_BATCH_FORM,
            "schema": {
                **_BATCH_FORM["schema"],
                "properties": {**_BATCH_FORM["schema"]["properties"], "file": _FILES},
            },
        }
    },
}

BATCH_RESPONSES: Responses = {
    200: {
        "description": "A line of JSON (BatchLine) for each pattern, in order.",
        "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/BatchLine"}}},
    },
    **_problems(400, 406, 408, 413, 415, 422, 429, 503),
}

_STRUCTURES: dict[str, Any] = {
    "type": "array",
    "minItems": MIN_STRUCTURES,
    "maxItems": MAX_STRUCTURES,
    "items": {"type": "string"},
    "description": "CIF or POSCAR, each one structure.",
}
COMPARE_BODY = _body(ReadingOptions, {"structures": _STRUCTURES}, {"structures": _STRUCTURES})

COMPARE_RESPONSES: Responses = {
    200: {
        "description": "The structures, the likeliest first.",
        "model": ComparisonSchema,
        "content": {"image/svg+xml": _TEXT},
    },
    **_problems(400, 406, 408, 413, 415, 422, 429, 503),
}

PREDICT_RESPONSES: Responses = {
    200: {
        "description": "The candidates, best first.",
        "model": Answer,
        "content": {
            "chemical/x-cif": _TEXT,
            "application/zip": {"schema": {"type": "string", "contentMediaType": "application/zip"}},
            "image/svg+xml": _TEXT,
        },
    },
    **_problems(400, 406, 408, 413, 415, 422, 429, 503),
}

_ANSWER = {"type": "object", "description": "An answer of /predict, as it was given."}
REPLAY_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "answer"],
                "additionalProperties": False,
                "properties": {
                    "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                    "answer": {"type": "string", "contentMediaType": "application/json"},
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["answer"],
                "additionalProperties": False,
                "properties": {"answer": _ANSWER, "points": _point_schema()},
            }
        },
    },
}

REPLAY_RESPONSES: Responses = {
    200: {"description": "Whether the answer would change, and how.", "model": Replay},
    **_problems(400, 406, 408, 413, 415, 422, 429, 503),
}

INSPECT_BODY = _body(InspectOptions, {}, {})

INSPECT_RESPONSES: Responses = {
    200: {
        "description": "The pattern as it was understood.",
        "model": Inspection,
        "content": {
            "image/svg+xml": _TEXT,
            "image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}},
        },
    },
    **_problems(400, 406, 408, 413, 415, 422, 429, 503),
}

STRUCTURE_RESPONSES: Responses = {
    200: {"description": "The crystal.", "model": Structure, "content": {"chemical/x-cif": _TEXT}},
    **_problems(404, 406, 429, 503),
}

CIF_RESPONSES: Responses = {
    200: {"description": "The crystal as CIF.", "content": {"chemical/x-cif": _TEXT}},
    **_problems(404, 429, 503),
}

_STRUCTURE_FILE: dict[str, Any] = {
    "type": "string",
    "description": "CIF or POSCAR, one structure.",
}
ADD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        kind: {
            "schema": {
                "type": "object",
                "required": [name],
                "additionalProperties": False,
                "properties": {name: _STRUCTURE_FILE, **_option_schemas(UserStructureOptions)},
            }
        }
        for kind, name in (("multipart/form-data", "file"), ("application/json", "structure"))
    },
}

_ADDED = {
    "model": UserStructureSchema,
    "headers": {"Location": {"description": "Where it is found.", "schema": {"type": "string"}}},
}
ADD_RESPONSES: Responses = {
    200: {"description": "This very structure was there under its id.", **_ADDED},
    201: {"description": "The structure, which is on the disk and searched now.", **_ADDED},
    **_problems(400, 406, 408, 409, 413, 415, 422, 429, 503),
}

REMOVE_RESPONSES: Responses = {
    204: {"description": "It is removed, and searched no more."},
    **_problems(404, 409, 422, 429, 503),
}

RELOAD_BODY: dict[str, Any] = {
    "required": False,
    "content": {"application/json": {"schema": ReloadOptions.model_json_schema()}},
}

RELOAD_RESPONSES: Responses = {
    200: {"description": "What is served now.", "model": ServedIndex},
    **_problems(400, 408, 409, 413, 415, 422, 429, 503),
}

OVERLAY_RESPONSES: Responses = {
    200: {
        "description": "The frame with spots, and the candidate's beams.",
        "content": {
            "image/svg+xml": _TEXT,
            "image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}},
        },
    },
    **_problems(404, 406, 422, 429, 503),
}

ACCESS_RESPONSES: Responses = _problems(401, 403, 429)
"""Of every route that needs a key."""

NOT_READY_RESPONSES: Responses = _problems(503)

METRICS_RESPONSES: Responses = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": _TEXT}},
    **_problems(401, 403, 429),
}

ID_PARAMETER: dict[str, Any] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "As the answer states it, percent-encoded, slashes too.",
}


class Documented(FastAPI):
    """An application whose document knows the schema of its errors, which no route returns by itself."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document; made once."""
        document = super().openapi()
        schemas = document["components"]["schemas"]
        schemas.setdefault("Problem", Problem.model_json_schema())
        line = BatchLine.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update({name: schemas.get(name, each) for name, each in line.pop("$defs").items()})
        schemas["BatchLine"] = line
        return document
