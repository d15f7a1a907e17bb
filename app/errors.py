"""Exceptions that the service raises deliberately, in addition to those of `model.errors`.

They know nothing of HTTP: `app.http.problem_details` maps each of them to a response.
"""

from collections.abc import Mapping

from model.errors import DomainError


class RequestTimeoutError(DomainError):
    """A request's body arrives too slowly."""


class QueueFullError(DomainError):
    """The queue is full."""


class DeadlineExceededError(DomainError):
    """A request has no answer within its time limit."""


class NotReadyError(DomainError):
    """The model or the index is not ready."""


class NotFoundError(DomainError):
    """The requested resource does not exist."""


class NotAcceptableError(DomainError):
    """The answer has none of the media types that the client accepts."""


class AccessError(DomainError):
    """The client may not make this request.

    Attributes:
        headers: further headers of the response.
    """

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class UnauthorizedError(AccessError):
    """The API key is missing or not valid."""


class ForbiddenError(AccessError):
    """The key's role does not permit the request."""


class RateLimitError(AccessError):
    """The client exceeds its request rate."""


class MisdirectedRequestError(AccessError):
    """The Host header names another host."""


class InternalError(RuntimeError):
    """A worker raised an unexpected error, which its log records."""
