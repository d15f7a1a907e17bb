"""Authentication, authorization and rate limits, applied before a request's body is read."""

import logging
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from app.auth.api_keys import ApiKey, Role
from app.auth.keyring import Keyring
from app.auth.rate_limit import RateLimiter, client_network
from app.errors import ForbiddenError, RateLimitError, UnauthorizedError
from app.settings import Settings

logger = logging.getLogger(__name__)

_FAILURES_PER_MINUTE = 10
_CHALLENGE = 'Bearer realm="dd2d"'
_HOW_TO_ENABLE = (
    "run `dd2d key create NAME --role {role} --keys FILE`, start the service with DD2D_KEYS=FILE, and send the key "
    "as `Authorization: Bearer KEY`."
)
_BEARER = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key created by `dd2d key create`."
)
_HEADER = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    scheme_name="keyHeader",
    description="The same key, for services behind a proxy that uses Authorization itself.",
)


@dataclass(frozen=True)
class Access:
    """The access policy of one application.

    Attributes:
        keyring: None if no keys are configured; reading is open then and everything else disabled.
        requests: limits the requests of each key, or of each address where there are no keys; None for no limit.
        failures: limits the invalid keys of each address. A valid key passes even then: 256 random bits cannot be
            guessed, and one misconfigured client must not lock out everyone behind the same address.
    """

    keyring: Keyring | None = None
    requests: RateLimiter | None = None
    failures: RateLimiter = field(
        default_factory=lambda: RateLimiter(_FAILURES_PER_MINUTE, _FAILURES_PER_MINUTE)
    )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Access":
        """Build the policy that the settings describe.

        Raises:
            OptionError: the key file cannot be used.
        """
        per_minute = settings.rate_per_minute
        return cls(
            None if settings.keys is None else Keyring(settings.keys),
            None if per_minute is None else RateLimiter(per_minute, settings.rate_burst),
        )

    def authenticate(self, secret: str | None, address: str) -> ApiKey | None:
        """Return the key of a request, or None if no keys are configured.

        Args:
            secret: the key that the request carries.
            address: the client's IP address.

        Raises:
            UnauthorizedError: the key is missing or invalid.
            RateLimitError: the address has sent too many invalid keys.
        """
        if self.keyring is None:
            return None
        if not secret:
            raise UnauthorizedError(
                "An API key is required; send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
                {"WWW-Authenticate": _CHALLENGE},
            )
        key = self.keyring.find(secret)
        if key and not key.is_expired(datetime.now(UTC)):
            return key
        _check_rate(self.failures, client_network(address), "Too many invalid API keys from this address")
        problem = "The API key has expired" if key else "The API key is unknown or was revoked"
        raise UnauthorizedError(
            f"{problem}; ask the operator of the service for a new one.",
            {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )

    def authorize(self, key: ApiKey | None, role: Role, address: str, *, limited: bool = True) -> None:
        """Check that a request may proceed.

        Args:
            key: the authenticated key.
            role: the role that the route requires.
            address: the client's IP address.
            limited: whether the request counts toward the rate limit.

        Raises:
            ForbiddenError: the key's role does not suffice, or the route needs a key and none are configured.
            RateLimitError: the rate limit is exceeded.
        """
        if key is None and role != "read":
            raise ForbiddenError(
                f"This is disabled until API keys are configured: {_HOW_TO_ENABLE.format(role=role)}"
            )
        if key and not key.has_role(role):
            raise ForbiddenError(
                f"The key {key.name!r} has the role {key.role}; this requires the role {role}.",
                {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="{role}"'},
            )
        if limited and self.requests is not None:
            client = f"key {key.name}" if key else client_network(address)
            _check_rate(self.requests, client, "The rate limit, DD2D_RATE_PER_MINUTE, is exceeded")

    def log_policy(self, settings: Settings) -> None:
        """Log who has access; warn if that is everyone or no one."""
        if self.keyring is None:
            reach = (
                "every user and program on this machine"
                if settings.listens_on_loopback
                else f"EVERYONE WHO CAN REACH {settings.host}, port {settings.port},"
            )
            how = _HOW_TO_ENABLE.format(role="read")
            logger.warning(
                "NO API KEYS: %s has read access; writing and administration are disabled. To require keys, %s",
                reach,
                how,
            )
        elif not len(self.keyring):
            logger.warning(
                "The key file contains no keys, so every request will be refused; create one with "
                "`dd2d key create NAME --role read`."
            )
        elif not settings.listens_on_loopback:
            logger.info("Keys and patterns travel unencrypted; put a proxy with TLS in front of the service.")


def _check_rate(limiter: RateLimiter, client: str, problem: str) -> None:
    wait_s = math.ceil(limiter.acquire(client))
    if wait_s > 0:
        raise RateLimitError(f"{problem}; retry after {wait_s} s.", {"Retry-After": str(wait_s)})


def require_role(role: Role, *, limited: bool = True) -> Any:
    """Return a FastAPI dependency that admits only requests with this role.

    It sets `request.state.key_name` to the name of the key, or to None. It runs before the body is read, because
    the dependencies that read a body come after those of the router.
    """

    async def check_access(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        access: Access = request.app.state.access
        address = request.client.host if request.client else "unknown"
        secret = bearer.credentials if bearer else header
        key = access.authenticate(secret, address)
        # Set before authorization can fail, so that the access log names the key of a refused request too.
        request.state.key_name = key.name if key else None
        access.authorize(key, role, address, limited=limited)

    return Depends(check_access)
