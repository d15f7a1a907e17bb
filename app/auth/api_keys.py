"""API keys: creation, lookup by secret, and the record that is stored of each."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""In ascending order: each role includes the ones before it."""

# Secret scanners can recognize the prefix. Text of any other form is never looked up, so an operator cannot put a
# password into the key file, which a fast digest would not protect.
_PREFIX = "dd2d_"
_SECRET_BYTES = 32
_SECRET = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")


class ApiKey(BaseModel):
    """The stored record of an API key, one line of the key file. The secret itself is not stored.

    The digest is a plain SHA-256. Slow digests such as argon2 protect guessable passwords; 256 random bits cannot be
    guessed at any speed, and a fast digest can be checked before each request's body is read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    role: Role
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def has_role(self, role: Role) -> bool:
        """Return whether the key's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def is_expired(self, now: datetime) -> bool:
        """Return whether the key's expiry date has passed."""
        return self.expires is not None and self.expires <= now


def create_key(name: str, role: Role, expires: datetime | None = None) -> tuple[ApiKey, str]:
    """Return a new key and its secret, which it does not reveal; pydantic.ValidationError if the name is invalid."""
    secret = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    created = datetime.now(UTC).replace(microsecond=0)
    return ApiKey(name=name, role=role, sha256=_hash_secret(secret), created=created, expires=expires), secret


def find_key(keys: Iterable[ApiKey], secret: str) -> ApiKey | None:
    """Return the key with this secret, expired or not, or None.

    Every key is compared, each in constant time, so that the duration reveals nothing about the keys.
    """
    if not _SECRET.fullmatch(secret):
        return None
    digest, match = _hash_secret(secret), None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            match = key
    return match


def _hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
