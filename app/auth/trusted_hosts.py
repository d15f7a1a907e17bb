"""For which names the service answers: a defence of services on loopback against DNS rebinding.

A page on the internet can point its own name at 127.0.0.1 and then read, as its own origin, what a service there
answers. It cannot do that by number, or as `localhost`, so those are always right.
"""

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import WrongHostError, refusal

LOCAL = ("localhost", "*.localhost")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class NamedHosts:
    """Refuses requests whose Host is a name of somebody else.

    Args:
        app: what answers the others.
        names: that are ours; `*.lab.org` stands for all below `lab.org`, `*` for any.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = [name.lower() for name in (*LOCAL, *names)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or self._is_ours(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        told = "this service does not answer for that host name; whoever runs it can add it to DD2D_ALLOWED_HOSTS"
        await refusal(Request(scope), WrongHostError(told))(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host).lower().rstrip(".")
        return _is_number(name) or any(_covers(each, name) for each in self._names)


def _covers(given: str, name: str) -> bool:
    return given == "*" or name == given or (given.startswith("*.") and name.endswith(given[1:]))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
