"""ASGI middleware: request ids, headers, access log, internal errors, encoded paths, HEAD, unread bodies."""

import asyncio
import logging
import re
import uuid
from time import perf_counter
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problem_details import respond_to_error
from app.observability import logging as logs
from app.observability.metrics import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Permitted-Cross-Domain-Policies": "none",
}

MAX_DRAIN_S = 10.0
MAX_LOGGED_PATH_CHARACTERS = 200


class RequestMiddleware:
    """Gives every request an id, adds the common headers to its response, and records it in the log and the metrics.

    The client's own id is kept if it is safe to log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        request_id, path = _request_id(scope), scope["path"]
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", _cache_control(path))
            await send(message)

        token = logs.REQUEST_ID.set(request_id)
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = perf_counter() - started
            self._metrics.record_request(scope, status, seconds)
            if "problem" in scope["state"]:
                self._metrics.record_problem(scope["state"]["problem"])
            _log_request(scope, path, status, seconds)
            logs.REQUEST_ID.reset(token)


def _request_id(scope: Scope) -> str:
    client_id = Headers(scope=scope).get(REQUEST_ID, "")
    return client_id if _VALID_REQUEST_ID.fullmatch(client_id) else uuid.uuid4().hex


def _cache_control(path: str) -> str:
    """Let browsers keep pages but revalidate them, and keep nothing that was computed from a user's pattern."""
    return "no-cache" if path in {"/", "/docs"} or path.startswith("/static/") else "no-store"


def _log_request(scope: Scope, path: str, status: int, seconds: float) -> None:
    """Write the access log line, with the path percent-encoded and cut, and without the query string."""
    method, path, ms = scope["method"], quote(path), round(1000 * seconds, 1)
    if len(path) > MAX_LOGGED_PATH_CHARACTERS:
        path = f"{path[: MAX_LOGGED_PATH_CHARACTERS - 3]}..."
    key = scope["state"].get("key_name")
    client = (scope.get("client") or ("unknown",))[0]
    fields = {
        "method": method,
        "path": path,
        "route": getattr(scope.get("route"), "path_format", None),
        "status": status,
        "ms": ms,
        "key": key,
        "client": client,
        "problem": scope["state"].get("problem"),
    }
    logger.info(
        "%s %s %d in %.1f ms, key %s, from %s",
        method, path, status, ms, key or "-", client, extra={logs.ACCESS: fields},
    )  # fmt: skip


class InternalErrorMiddleware:
    """Answers unhandled exceptions with a 500, inside the middleware that adds headers to responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            logger.exception("Internal error while handling a request.")
            await respond_to_error(Request(scope), error)(scope, receive, send)


class EncodedPathMiddleware:
    """Matches the paths of structures in percent-encoded form, as they were sent.

    An id may contain slashes. In the decoded path, which a server passes on, the slashes of an id `mos2/cif` look like
    those of the route `/structures/{id}/cif`. The routes decode the id after they have been matched.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and scope["path"].startswith(scope.get("root_path", "") + "/structures/"):
            raw_path = scope.get("raw_path")  # optional in ASGI
            scope["path"] = raw_path.decode("ascii", "replace") if raw_path else quote(scope["path"])
        await self._app(scope, receive, send)


class HeadMiddleware:
    """Answers HEAD wherever GET is answered, with the same headers and no body (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        await self._app(as_get, receive, send_without_body)
        scope["route"] = as_get.get("route")  # for the metrics and the log


class DrainBodyMiddleware:
    """Reads and discards what a client still sends after its response, for a limited time.

    Closing a connection while its client sends resets it. A client that reads the response only after its last byte,
    such as Python's urllib, would then see "connection reset" instead of the reason. uvicorn drains the body itself
    where the connection is kept alive.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not _closes_after_sending(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        complete = False

        async def receive_and_note() -> Message:
            nonlocal complete
            message = await receive()
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def send_then_drain(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False) or complete:
                await send(message)
                return
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(MAX_DRAIN_S):
                    while not complete:
                        await receive_and_note()
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, receive_and_note, send_then_drain)


def _closes_after_sending(headers: Headers) -> bool:
    """Return whether the client closes the connection afterwards and does not ask first whether to send."""
    return headers.get("connection", "").lower() == "close" and "expect" not in headers
