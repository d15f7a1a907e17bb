"""Exceptions that the service raises deliberately, in addition to those of `model.errors`.

They know nothing of HTTP: `app.http.problem_details` maps each of them to a response.
"""

from collections.abc import Mapping

from model.errors import DomainError


class RequestTimeoutError(DomainError):
    """A request arrives too slowly."""


class MalformedRequestError(DomainError):
    """A request is not valid HTTP, or its framing is ambiguous or wasteful."""


class UrlTooLongError(DomainError):
    """The URL of a request is too long."""


class HeadTooLargeError(DomainError):
    """The headers of a request are too large or too many."""


class OverloadedError(DomainError):
    """The service has no connection or no memory left for a request."""


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


class ForeignOriginError(AccessError):
    """A page of another origin makes a request that computes or changes something."""


class MisdirectedRequestError(AccessError):
    """The Host header names another host."""


class InternalError(RuntimeError):
    """A worker raised an unexpected error, which its log records."""
