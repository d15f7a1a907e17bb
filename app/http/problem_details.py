"""Responses to errors: RFC 9457 problem details, and a table that maps exception classes to status and type."""

import logging
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app import errors
from app.presentation.formats import PROBLEM_JSON
from app.presentation.schemas.service import Problem
from model.errors import (
    CheckpointError,
    ConflictError,
    CrystalError,
    DomainError,
    IndexDamagedError,
    IndexUnavailableError,
    NoSpotsError,
    OptionError,
    ReadOnlyError,
    StorageFullError,
    TooLargeError,
    UnknownFormatError,
    UnreadableError,
)

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 1
_MAX_DETAIL_CHARACTERS = 1000
_CLIENT_CLOSED_REQUEST = 499  # nobody reads it


@dataclass(frozen=True)
class ProblemType:
    """The response to a class of errors.

    Attributes:
        status: HTTP status code.
        name: last part of the problem's type.
        title: summary, the same for every problem of the type.
        public_detail: replaces the error's own message where that is the operator's business.
    """

    status: int
    name: str
    title: str
    public_detail: str | None = None


_UNUSABLE = "The model or the index cannot be used at the moment; the service's log gives the reason."
_INTERNAL = "Internal error. The service's log has the details under this request_id; please report it."

PROBLEM_TYPES: dict[type[DomainError], ProblemType] = {
    UnreadableError: ProblemType(400, "unreadable", "The upload cannot be read"),
    errors.MalformedRequestError: ProblemType(400, "malformed-request", "The request is not valid HTTP"),
    errors.UnauthorizedError: ProblemType(401, "unauthorized", "A valid API key is required"),
    errors.ForbiddenError: ProblemType(403, "forbidden", "The API key does not permit this"),
    errors.ForeignOriginError: ProblemType(403, "foreign-origin", "Request from a page of another origin"),
    errors.NotFoundError: ProblemType(404, "not-found", "Not found"),
    errors.NotAcceptableError: ProblemType(406, "not-acceptable", "No acceptable media type"),
    errors.RequestTimeoutError: ProblemType(408, "request-timeout", "The request arrived too slowly"),
    ConflictError: ProblemType(409, "conflict", "Conflict with the current index"),
    ReadOnlyError: ProblemType(409, "read-only", "The index cannot be changed"),
    TooLargeError: ProblemType(413, "too-large", "The upload is too large"),
    errors.UrlTooLongError: ProblemType(414, "url-too-long", "The URL is too long"),
    UnknownFormatError: ProblemType(415, "unsupported-format", "Unsupported format"),
    errors.MisdirectedRequestError: ProblemType(421, "misdirected-request", "Unknown host name"),
    OptionError: ProblemType(422, "invalid-option", "Invalid option"),
    NoSpotsError: ProblemType(422, "no-spots", "No diffraction pattern in the upload"),
    CrystalError: ProblemType(422, "no-crystal", "Not a two-dimensional crystal"),
    errors.QueueFullError: ProblemType(429, "queue-full", "Too many concurrent requests"),
    errors.RateLimitError: ProblemType(429, "rate-limited", "Request rate exceeded"),
    errors.HeadTooLargeError: ProblemType(431, "head-too-large", "The head of the request is too large"),
    errors.DeadlineExceededError: ProblemType(503, "deadline-exceeded", "Deadline exceeded"),
    errors.OverloadedError: ProblemType(503, "overloaded", "The service is overloaded"),
    errors.NotReadyError: ProblemType(503, "not-ready", "The service is not ready"),
    StorageFullError: ProblemType(503, "storage-full", "The service's storage is full"),
    CheckpointError: ProblemType(503, "not-ready", "The service is not ready", _UNUSABLE),
    IndexUnavailableError: ProblemType(503, "not-ready", "The service is not ready", _UNUSABLE),
    IndexDamagedError: ProblemType(503, "not-ready", "The service is not ready"),
    DomainError: ProblemType(400, "bad-request", "Bad request"),
}


def find_problem_type(error: DomainError) -> ProblemType:
    """Return the problem type of the most specific known class of an error."""
    return next(PROBLEM_TYPES[each] for each in type(error).__mro__ if each in PROBLEM_TYPES)


def describe_error(error: Exception, request_id: str) -> Problem:
    """Describe an error to the client; the message of an unexpected error is withheld."""
    if not isinstance(error, DomainError):
        return _make_problem(500, _INTERNAL, None, request_id)
    problem_type = find_problem_type(error)
    return _make_problem(problem_type.status, _public_detail(error, problem_type), problem_type, request_id)


def _public_detail(error: DomainError, problem_type: ProblemType) -> str:
    """Return what the client may read; a message for the operator goes to the log instead."""
    if problem_type.public_detail:
        logger.error("%s: %s", type(error).__name__, error)
    return problem_type.public_detail or str(error)


def label_problem(problem: Problem) -> str:
    """Return the label of a problem in the metrics: the last part of its type, or the status if it has none."""
    return problem.type.rpartition(":")[2] if problem.type != "about:blank" else str(problem.status)


def _make_problem(status: int, detail: str, problem_type: ProblemType | None, request_id: str) -> Problem:
    if len(detail) > _MAX_DETAIL_CHARACTERS:
        detail = f"{detail[: _MAX_DETAIL_CHARACTERS - 3]}..."
    return Problem(
        type=f"urn:dd2d:problem:{problem_type.name}" if problem_type else "about:blank",
        title=problem_type.title if problem_type else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        request_id=request_id,
    )


def error_headers(problem: Problem) -> dict[str, str]:
    """Return the headers that a problem needs."""
    if problem.status in {429, 503}:
        return {"Retry-After": str(RETRY_AFTER_S)}
    # After a 408 the rest of the body is not awaited.
    return {"Connection": "close"} if problem.status == 408 else {}


def respond_to_error(request: Request, error: Exception) -> Response:
    """Return the response to an error; an unexpected one becomes a 500 that does not reveal its message."""
    problem = describe_error(error, _request_id(request))
    headers = error_headers(problem)
    if isinstance(error, errors.AccessError):
        headers |= error.headers
    return _send_problem(request, problem, headers)


def _send_problem(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    request.state.problem = label_problem(problem)
    return Response(problem.model_dump_json(), problem.status, headers, PROBLEM_JSON)


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def add_error_handlers(app: FastAPI) -> None:
    """Register a problem response for every class of errors; `app.http.middleware` handles unexpected ones."""
    app.add_exception_handler(DomainError, _handle_domain_error)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(ClientDisconnect, _handle_disconnect)


async def _handle_domain_error(request: Request, error: Exception) -> Response:
    return respond_to_error(request, error)


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        404: f"There is nothing at {request.url.path}; see /docs for the available paths.",
        405: f"The method {request.method} is not allowed here; see /docs for the available methods.",
    }
    detail = details.get(error.status_code, str(error.detail))
    problem = _make_problem(error.status_code, detail, None, _request_id(request))
    return _send_problem(request, problem, dict(error.headers or {}))


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = " ".join(
        f"Parameter {each['loc'][-1]} is invalid: {each['msg'][:1].lower()}{each['msg'][1:]}."
        for each in error.errors()[:5]
    )
    problem_type = PROBLEM_TYPES[OptionError]
    problem = _make_problem(problem_type.status, detail, problem_type, _request_id(request))
    return _send_problem(request, problem)


async def _handle_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)
