"""Which error becomes which answer: one table, and RFC 9457 everywhere."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.presentation.schemas import Problem
from model.errors import (
    CheckpointError,
    ConflictError,
    CrystalError,
    DomainError,
    IndexUnavailableError,
    NoSpotsError,
    OptionError,
    ReadOnlyError,
    TooLargeError,
    UnknownFormatError,
    UnreadableError,
)

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_LONGEST_DETAIL = 1000
_NO_CLIENT_LEFT = 499  # nobody reads it


class StalledError(DomainError):
    """A request came to a halt before its end."""


class BusyError(DomainError):
    """As many requests wait as may wait."""


class DeadlineError(DomainError):
    """A request took longer than it may."""


class NotReadyError(DomainError):
    """Model or index do not answer."""


class NotFoundError(DomainError):
    """No crystal with this id."""


class NotAcceptableError(DomainError):
    """None of the forms that the client accepts can be given."""


class AccessError(DomainError):
    """A request is not let in.

    Attributes:
        headers: that the response needs.
    """

    def __init__(self, told: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(told)
        self.headers = dict(headers or {})


class UnknownKeyError(AccessError):
    """No API key, or one that is not valid."""


class ForbiddenError(AccessError):
    """The key's role does not suffice."""


class TooOftenError(AccessError):
    """More requests than the rate allows."""


class WrongHostError(AccessError):
    """A request for a host name that is somebody else's."""


@dataclass(frozen=True)
class Kind:
    """How a class of errors is answered.

    Attributes:
        status: of the response.
        name: last part of the problem's type.
        title: the same for every problem of the type.
        public: said in place of the error's own words, where those are the operator's business.
    """

    status: int
    name: str
    title: str
    public: str | None = None


_UNUSABLE = (
    "model or index cannot be used at the moment; whoever runs the service finds the reason in its log"
)

_UNFORESEEN = "an unexpected error; the service's log tells more under this request_id, please report it"

KINDS: dict[type[DomainError], Kind] = {
    UnreadableError: Kind(400, "unreadable", "The upload cannot be read"),
    UnknownKeyError: Kind(401, "unauthorized", "A valid API key is needed"),
    ForbiddenError: Kind(403, "forbidden", "The key does not allow this"),
    NotFoundError: Kind(404, "not-found", "No such crystal"),
    NotAcceptableError: Kind(406, "not-acceptable", "No acceptable form of the answer"),
    StalledError: Kind(408, "request-timeout", "The request came to a halt"),
    ConflictError: Kind(409, "conflict", "It contradicts what is there"),
    ReadOnlyError: Kind(409, "read-only", "Nothing can be written"),
    TooLargeError: Kind(413, "too-large", "The upload is too large"),
    UnknownFormatError: Kind(415, "unsupported-format", "The format is not known"),
    WrongHostError: Kind(421, "misdirected-request", "Another host is asked for"),
    OptionError: Kind(422, "invalid-option", "An option cannot be used"),
    NoSpotsError: Kind(422, "no-spots", "No diffraction pattern in the upload"),
    CrystalError: Kind(422, "no-crystal", "No two-dimensional crystal"),
    BusyError: Kind(429, "queue-full", "Too many requests at once"),
    TooOftenError: Kind(429, "rate-limited", "Too many requests in a row"),
    DeadlineError: Kind(503, "deadline-exceeded", "The answer took too long"),
    NotReadyError: Kind(503, "not-ready", "The service is not ready"),
    CheckpointError: Kind(503, "not-ready", "The service is not ready", _UNUSABLE),
    IndexUnavailableError: Kind(503, "not-ready", "The service is not ready", _UNUSABLE),
    DomainError: Kind(400, "bad-request", "The request was refused"),
}


def kind_of(error: DomainError) -> Kind:
    """The row of the table for an error, by the nearest class."""
    return next(KINDS[each] for each in type(error).__mro__ if each in KINDS)


def problem_of(error: Exception, request_id: str) -> Problem:
    """What is told of an error where an answer to several requests holds it; of an unforeseen one nothing."""
    if not isinstance(error, DomainError):
        return _problem(500, _UNFORESEEN, None, request_id)
    kind = kind_of(error)
    return _problem(kind.status, _said(error, kind), kind, request_id)


def _said(error: DomainError, kind: Kind) -> str:
    """What the client is told; what is the operator's business goes to the log."""
    if kind.public:
        logger.error("%s: %s", type(error).__name__, error)
    return kind.public or str(error)


def problem_name(problem: Problem) -> str:
    """What a measurement calls it: the last part of its type, or the status where it has none."""
    return problem.type.rpartition(":")[2] if problem.type != "about:blank" else str(problem.status)


def _problem(status: int, detail: str, kind: Kind | None, request_id: str) -> Problem:
    return Problem(
        type=f"urn:dd2d:problem:{kind.name}" if kind else "about:blank",
        title=kind.title if kind else HTTPStatus(status).phrase,
        status=status,
        detail=detail if len(detail) <= _LONGEST_DETAIL else f"{detail[: _LONGEST_DETAIL - 3]}...",
        request_id=request_id,
    )


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: Kind | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem+json response."""
    content = _problem(status, detail, kind, str(getattr(request.state, "request_id", "")))
    request.state.problem = problem_name(content)
    return Response(content.model_dump_json(), status, headers, PROBLEM_TYPE)


def refusal(request: Request, error: DomainError) -> Response:
    """The response to an error that was raised on purpose."""
    kind = kind_of(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if kind.status in {429, 503} else {}
    if kind.status == 408:
        headers = {"Connection": "close"}  # the rest of the request is not waited for
    if isinstance(error, AccessError):
        headers |= error.headers
    return problem(request, kind.status, _said(error, kind), kind=kind, headers=headers)


def unexpected(request: Request) -> Response:
    """The response to an error nobody foresaw; what it says goes to the log only."""
    return problem(request, 500, _UNFORESEEN)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every kind of error with a problem; unforeseen ones are the outermost middleware's."""
    app.add_exception_handler(DomainError, _domain_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _gone)


def _domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)
    return refusal(request, error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        404: f"there is nothing at {request.url.path}; /docs lists what there is",
        405: f"{request.method} is not possible here; /docs lists what is",
    }
    detail = told.get(error.status_code, str(error.detail))
    return problem(request, error.status_code, detail, headers=dict(error.headers or {}))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
    return problem(request, 422, told, kind=KINDS[OptionError])


def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_NO_CLIENT_LEFT)
