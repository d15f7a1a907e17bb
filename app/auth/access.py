"""Who may do what, and how often; decided before a request's body is read."""

import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from app.auth.api_keys import Key, Role
from app.auth.keyring import Keyring
from app.auth.rate_limit import TokenBuckets, network_of
from app.auth.trusted_hosts import is_loopback
from app.errors import ForbiddenError, TooOftenError, UnknownKeyError
from app.settings import Settings

logger = logging.getLogger(__name__)

_FAILURES_PER_MINUTE = 10
_CHALLENGE = 'Bearer realm="dd2d"'
_HOW = (
    "dd2d key create NAME --role {role} --keys FILE, then start the service with DD2D_KEYS=FILE and send the key "
    "as `Authorization: Bearer KEY`"
)
_BEARER = HTTPBearer(auto_error=False, scheme_name="key", description="An API key of `dd2d key create`.")
_HEADER = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    scheme_name="keyHeader",
    description="The same key, where a proxy needs Authorization for itself.",
)


@dataclass(frozen=True)
class Access:
    """The door of one application.

    Attributes:
        keyring: None where no keys are configured: reading is open then, all else shut.
        rate: of each key, or where there are none of each address; None is no limit.
        failures: refused keys of each address. A key that is known passes even then: nobody can guess 256 bits, and
            a neighbour's old script must not lock out a laboratory behind one address.
    """

    keyring: Keyring | None = None
    rate: TokenBuckets | None = None
    failures: TokenBuckets = field(
        default_factory=lambda: TokenBuckets(_FAILURES_PER_MINUTE, _FAILURES_PER_MINUTE)
    )

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        """As the settings say.

        Raises:
            OptionError: the key file cannot be used.
        """
        per_minute = settings.rate_per_minute
        return cls(
            None if settings.keys is None else Keyring(settings.keys),
            None if per_minute is None else TokenBuckets(per_minute, settings.rate_burst),
        )

    def identify(self, secret: str | None, address: str) -> Key | None:
        """Whose request it is; None where no keys are configured.

        Args:
            secret: the key that came with the request.
            address: where it came from.

        Raises:
            UnknownKeyError: no key, or one that is not valid.
            TooOftenError: too many of these from one address.
        """
        if self.keyring is None:
            return None
        if not secret:
            told = "a key is needed; send it as `Authorization: Bearer KEY` (or `X-API-Key: KEY`)"
            raise UnknownKeyError(told, {"WWW-Authenticate": _CHALLENGE})
        key = self.keyring.find(secret)
        if key and not key.has_expired(datetime.now(UTC)):
            return key
        _wait(self.failures.take(network_of(address)), "too many keys that are not valid")
        told = "the key has expired" if key else "the key is not known, or was revoked"
        raise UnknownKeyError(
            f"{told}; ask whoever runs the service for another",
            {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )

    def permit(self, key: Key | None, needed: Role, address: str, *, limited: bool = True) -> None:
        """Let a request pass.

        Args:
            key: that was identified.
            needed: role that the request takes.
            address: where it came from.
            limited: whether it counts for the rate.

        Raises:
            ForbiddenError: the role does not suffice, or without keys: more than reading is asked for.
            TooOftenError: the rate is exceeded.
        """
        if key is None and needed != "read":
            how = _HOW.format(role=needed)
            raise ForbiddenError(f"this is shut as long as the service has no keys; to open it: {how}")
        if key and not key.may(needed):
            told = f"the key {key.name!r} may {key.role}; this needs one with the role {needed}"
            raise ForbiddenError(
                told, {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="{needed}"'}
            )
        if limited and self.rate is not None:
            who = f"key {key.name}" if key else network_of(address)
            _wait(self.rate.take(who), "more requests than DD2D_RATE_PER_MINUTE allows")

    def announce(self, settings: Settings) -> None:
        """Say in the log who may come in; loudly, where that is anybody."""
        if self.keyring is None:
            reach = (
                "every program and user of this machine"
                if is_loopback(settings.host)
                else f"EVERYBODY WHO CAN REACH {settings.host}, port {settings.port},"
            )
            logger.warning(
                "NO API KEYS: %s may read; writing and admin are shut. For keys: %s",
                reach,
                _HOW.format(role="read"),
            )
        elif not len(self.keyring):
            logger.warning(
                "the key file holds no key, so nobody can come in: dd2d key create NAME --role read"
            )
        elif not is_loopback(settings.host):
            logger.info(
                "keys and patterns travel as plain text: let a proxy in front of the service speak TLS"
            )


def _wait(seconds: float, told: str) -> None:
    if seconds > 0:
        after = math.ceil(seconds)
        raise TooOftenError(f"{told}; try again in {after} s", {"Retry-After": str(after)})


def needs(role: Role, *, limited: bool = True) -> Any:
    """A dependency of routes, which lets nobody pass without a key of this role.

    `request.state.key_name` is the key's name after it, or None. The routes read their bodies themselves, so this
    comes before the first byte of them.
    """

    async def admitted(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        access: Access = request.app.state.access
        address = request.client.host if request.client else "unknown"
        secret = bearer.credentials if bearer else header
        key = access.identify(secret, address)
        request.state.key_name = (
            key.name if key else None
        )  # before what may refuse it, so that the log has it
        access.permit(key, role, address, limited=limited)

    return Depends(admitted)
