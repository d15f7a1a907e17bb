"""The parts of the OpenAPI document that the routes do not annotate: problem details and media types."""

from typing import Any

from fastapi import FastAPI

from app.presentation.formats import PNG, PROBLEM_JSON, ZIP
from app.presentation.schemas.service import Problem

Responses = dict[int | str, dict[str, Any]]

_TEXT = {"type": "string"}
_SCHEMAS = {name: {"type": "string", "contentMediaType": name} for name in (PNG, ZIP)}
_CHALLENGE = {"WWW-Authenticate": {"description": "The challenge of RFC 6750.", "schema": _TEXT}}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_HEADERS = {401: {"headers": _CHALLENGE}, 429: {"headers": _RETRY}, 503: {"headers": _RETRY}}
_CAUSES = {
    400: "The upload is damaged or unreadable.",
    401: "The API key is missing or invalid.",
    403: "The key's role does not suffice.",
    404: "The resource does not exist.",
    406: "The answer is not available in a media type that `Accept` allows.",
    408: "The request arrived too slowly.",
    409: "The request conflicts with the current library; the detail explains why.",
    413: "The upload is too large.",
    415: "The format is not supported.",
    422: "An option is invalid, or the upload contains no diffraction spots or no two-dimensional crystal.",
    429: "The queue is full or a rate limit is exceeded.",
    503: "The service is not ready, or the answer took too long.",
}


def problems(*statuses: int) -> Responses:
    """Return the documentation of the errors that a route can return."""
    return {
        status: {"model": Problem, "description": _CAUSES[status]} | _HEADERS.get(status, {})
        for status in statuses
    }


ACCESS_PROBLEMS = problems(401, 403, 429)
UPLOAD_PROBLEMS = problems(400, 401, 403, 406, 408, 413, 415, 422, 429, 503)


def media_types(*names: str) -> Responses:
    """Return the documentation of further media types of the answer."""
    return {200: {"content": {name: {"schema": _SCHEMAS.get(name, _TEXT)} for name in names}}}


class DocumentedApp(FastAPI):
    """An application whose OpenAPI document includes problem details, which are no route's response model."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, response in list(operation["responses"].items()):
                    if "HTTPValidationError" in str(response):  # FastAPI's own, for any parameter
                        del operation["responses"][status]
                    elif int(status) >= 400:
                        (content,) = response["content"].values()
                        response["content"] = {PROBLEM_JSON: content}
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document
