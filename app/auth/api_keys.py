"""API keys: what is kept of one, how one is made, and how one is recognised."""

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
"""Each may do what the ones before it may."""

# A prefix that scanners for leaked secrets can know, and 256 random bits. Nothing else is ever looked up, so nobody
# can put a password of his own into the file, which a fast digest would not protect.
_PREFIX = "dd2d_"
_SECRET_BYTES = 32
_SECRET = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")


class Key(BaseModel):
    """What is kept of a key, one line of the key file. The key itself is nowhere.

    The digest is a plain SHA-256. Slow ones (argon2, scrypt) make short passwords costly to guess; 256 random bits
    cannot be guessed at any speed, and a fast digest lets the key be checked before each request's body is read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    role: Role
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def may(self, needed: Role) -> bool:
        """Whether the role suffices."""
        return ROLES.index(self.role) >= ROLES.index(needed)

    def has_expired(self, now: datetime) -> bool:
        """Whether it was good only until before `now`."""
        return self.expires is not None and self.expires <= now


def made_key(name: str, role: Role, expires: datetime | None = None) -> tuple[Key, str]:
    """A new key, and its secret, which nobody can tell again.

    Raises:
        pydantic.ValidationError: a name that is none.
    """
    secret = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    created = datetime.now(UTC).replace(microsecond=0)
    return Key(name=name, role=role, sha256=_digest(secret), created=created, expires=expires), secret


def recognised(keys: Iterable[Key], secret: str) -> Key | None:
    """The key with this secret, expired or not.

    All are compared, each in constant time, so how long it takes tells nothing of which one is near.
    """
    if not _SECRET.fullmatch(secret):
        return None
    digest, found = _digest(secret), None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
