"""Protection against pages in a user's browser, which can send requests to every address that the browser can reach."""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ForeignOriginError, MisdirectedRequestError
from app.http.problem_details import respond_to_error

LOCAL_HOSTS = ("localhost", "*.localhost")
_HARMLESS_METHODS = {"GET", "HEAD", "OPTIONS"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(\d{1,5})?)?")


class TrustedHostMiddleware:
    """Rejects requests for other host names, which protects a service on loopback against DNS rebinding.

    A page on the internet can point its own host name at 127.0.0.1 and then read the service's responses as its own
    origin. It cannot do that with an IP address or with `localhost`, so those are always accepted. Starlette's
    middleware of the same name knows no IP addresses and answers in plain text.

    Args:
        app: the application.
        allowed_hosts: accepted names; `*.lab.org` covers every name below `lab.org`, `*` every name.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._patterns = [name.lower() for name in (*LOCAL_HOSTS, *allowed_hosts)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or self._is_allowed(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        error = MisdirectedRequestError(
            "The service does not answer for this host name; its operator can add the name to DD2D_ALLOWED_HOSTS."
        )
        await respond_to_error(Request(scope), error)(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        name = _split_host(host)[0].lower().rstrip(".")
        return _is_ip_address(name) or any(_matches(pattern, name) for pattern in self._patterns)


def _matches(pattern: str, name: str) -> bool:
    return pattern == "*" or name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def _split_host(host: str) -> tuple[str, int | None]:
    """Return the name and the port of a Host header; the name is empty if the header is not a host."""
    match = _HOST.fullmatch(host)
    if match is None:
        return "", None
    name, port = match.groups()
    return name.removeprefix("[").removesuffix("]"), int(port) if port else None


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class ForeignOriginMiddleware:
    """Rejects requests that pages of other origins make to compute or change something.

    A form on any page can be posted to a service on the user's machine or in the user's network, without CORS having a
    say: the page does not see the answer, but the service has computed it. GET is not checked, since it changes nothing
    and computes little, and a link from another page is a cross-site GET.

    Browsers that send `Sec-Fetch-Site` say themselves whether the page has the service's origin, even if a proxy has
    replaced Host. The others send `Origin`, which is compared with Host. Clients that are not browsers send neither.

    Args:
        app: the application.
        allowed_origins: origins whose pages may call the service; `*` allows all.
    """

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str]) -> None:
        self._app = app
        self._allowed_origins = set(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if (
            scope["type"] != "http"
            or scope["method"] in _HARMLESS_METHODS
            or self._is_allowed(Headers(scope=scope))
        ):
            await self._app(scope, receive, send)
            return
        error = ForeignOriginError(
            "A page of another origin may not make this request; the operator of the service can add the origin to "
            "DD2D_CORS_ORIGINS."
        )
        await respond_to_error(Request(scope), error)(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if "*" in self._allowed_origins or origin in self._allowed_origins:
            return True
        if site in {"same-origin", "none"}:
            return True
        return site != "cross-site" and (origin is None or _is_same_host(origin, headers.get("host", "")))


def _is_same_host(origin: str, host: str) -> bool:
    """Compare host and port alone: behind a proxy with TLS the service does not know its own scheme."""
    try:
        parts = urlsplit(origin)
        origin_port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):  # "null", or no origin at all
        return False
    name, port = _split_host(host)
    return (name.lower(), port or _DEFAULT_PORTS[parts.scheme]) == (parts.hostname, origin_port)
