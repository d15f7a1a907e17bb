"""What holds for every request: an id, security headers, no trace to the client, a line in the log, a measurement."""

import logging
import re
import uuid
from time import perf_counter
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import unexpected
from app.observability import logging as logs
from app.observability.metrics import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_SECURITY_HEADERS = {
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


class Envelope:
    """Wraps every request; the client's own id is kept where it is one that a log can hold."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_enveloped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", _caching(scope["path"]))
            await send(message)

        token = logs.REQUEST_ID.set(request_id)
        try:
            await self._app(scope, receive, send_enveloped)
        finally:
            seconds = perf_counter() - begun
            self._metrics.answered(scope, status, seconds)
            if "problem" in scope["state"]:
                self._metrics.refused(scope["state"]["problem"])
            _log(scope, status, seconds)
            logs.REQUEST_ID.reset(token)


class Unforeseen:
    """Answers errors that nobody foresaw, inside of whatever adds headers to answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception:
            if scope["type"] != "http" or begun:
                raise
            logger.exception("the request ended in an unexpected error")
            await unexpected(Request(scope))(scope, receive, send)


def _caching(path: str) -> str:
    """Pages may be kept and are asked for again; what was computed from somebody's pattern is kept nowhere."""
    return "no-cache" if path in {"/", "/docs"} or path.startswith("/static/") else "no-store"


def _log(scope: Scope, status: int, seconds: float) -> None:
    """The line of a request; its path is percent-encoded and its query left out."""
    method, path, ms = scope["method"], quote(scope["path"]), round(1000 * seconds, 1)
    key = scope["state"].get("key_name")
    client = (scope.get("client") or ("unknown",))[0]
    route = getattr(scope.get("route"), "path_format", None)
    told = {
        "method": method,
        "path": path,
        "route": route,
        "status": status,
        "ms": ms,
        "key": key,
        "client": client,
        "problem": scope["state"].get("problem"),
    }
    logger.info(
        "%s %s %d in %.1f ms, key %s, from %s",
        method, path, status, ms, key or "-", client, extra={logs.ACCESS: told},
    )  # fmt: skip


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
