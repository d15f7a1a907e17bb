"""The settings of the service: environment variables `DD2D_*`, listed in docs/settings.md."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.errors import OptionError

_ORIGIN = re.compile(r"\*|https?://[^\s/?#@]+")


def _split_at_commas(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip()) or None


def _check_origins(origins: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Reject origins that would silently never match: a browser sends scheme, host and port only."""
    invalid = [origin for origin in origins or () if not _ORIGIN.fullmatch(origin)]
    if invalid:
        raise ValueError(
            f"{invalid[0]!r} is not an origin; give only the scheme, host and port, such as https://lab.org"
        )
    return origins


NameList = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split_at_commas)]
Origins = Annotated[NameList, AfterValidator(_check_origins)]


class Settings(BaseSettings):
    """The settings of one process, read once and then passed on."""

    model_config = SettingsConfigDict(env_prefix="DD2D_", frozen=True, extra="forbid")

    index: Path = Field(
        default=Path("indexes/starter"), description="Folder of the index to serve (`dd2d index build`)."
    )
    model: Path | None = Field(
        default=None,
        description="Folder of the trained towers; the shipped ones if not set. The index must have been built with "
        "them.",
    )
    user_structures: Path | None = Field(
        default=None,
        description="File for the structures that users add over HTTP, on a local disk; `user_structures.sqlite` in "
        "the index folder if not set.",
    )
    calibrations: Path | None = Field(
        default=None, description="Folder of the camera calibrations written by `dd2d calibrate`."
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Set `DD2D_KEYS` before you listen on anything but loopback.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    keys: Path | None = Field(
        default=None,
        description="File of the API keys (`dd2d key create`). Without it everyone may read and no one may write.",
    )
    rate_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Requests per minute allowed for each key, or for each address where there are no keys; "
        "further requests get a 429. No limit if not set.",
    )
    rate_burst: int = Field(
        default=10,
        ge=1,
        le=100_000,
        description="Requests allowed at once before `DD2D_RATE_PER_MINUTE` applies.",
    )
    cors_origins: Origins = Field(
        default=None,
        description="Comma-separated origins whose pages may call the service from a browser (`https://lab.org`); none "
        "if not set.",
    )
    allowed_hosts: NameList = Field(
        default=None,
        description="Comma-separated host names that the service answers for, in addition to localhost and IP "
        "addresses (`*.lab.org`, `*`). If not set: no others on loopback, any elsewhere.",
    )
    trusted_proxies: NameList = Field(
        default=None,
        description="Comma-separated addresses or networks of proxies whose X-Forwarded-For is trusted; none if not "
        "set.",
    )
    max_upload_bytes: int = Field(
        default=64 * 2**20,
        ge=1024,
        description="Maximum size of an upload in bytes; a larger one gets a 413.",
    )
    max_json_bytes: int = Field(
        default=16 * 2**20,
        ge=1024,
        description="Maximum size of a JSON request in bytes; a larger one gets a 413.",
    )
    max_batch_bytes: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="Maximum size of a batch request in bytes; a larger one gets a 413.",
    )
    stall_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds within which the next 64 KiB of a request, or its end, must arrive; a slower one gets a "
        "408. A batch whose client reads no line for that long is aborted.",
    )
    body_s: float = Field(
        default=600.0,
        gt=0,
        le=86400,
        description="Seconds within which a whole request must arrive, however steadily; a slower one gets a 408.",
    )
    idle_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="Seconds after which a connection without a request is closed. The head of a request must arrive "
        "within that time.",
    )
    max_connections: int = Field(
        default=512,
        ge=1,
        le=100_000,
        description="Connections open at once. A further one closes the connection that has kept the service waiting "
        "for the longest time; if all are waiting for answers, it gets a 503.",
    )
    body_bytes: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="Total bytes of the uploads that are arriving, excluding batches, which are stored on disk. Beyond "
        "it, the upload for which waiting time times size is largest gets a 503. One upload always fits.",
    )
    workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Worker processes, each processing one request at a time; use as many as there are cores.",
    )
    queue: int = Field(
        default=256,
        ge=0,
        description="Requests that may wait for a worker. Beyond it, the newest one of the client and kind "
        "that have the most gets a 429.",
    )
    queue_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Total bytes of the uploads that may wait. Beyond it, the newest one of the client and kind "
        "that have the most gets a 429.",
    )
    deadline_s: float = Field(
        default=30.0, gt=0, le=600, description="Seconds after which an unanswered request gets a 503."
    )
    worker_memory_bytes: int = Field(
        default=900 * 2**20,
        ge=2**26,
        description="Memory that a worker may use for requests, in addition to what it has in use once it is ready; a "
        "request that needs more gets a 413. A frame of 64 megapixels takes 700 MB. Linux only.",
    )
    torch_threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Threads used for computations within one request; more than one rarely helps.",
    )
    log_level: str = Field(
        default="info",
        pattern="^(critical|error|warning|info|debug)$",
        description="Minimum severity that is logged: critical, error, warning, info or debug.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Format of a log line: `text` for people, `json` for machines."
    )

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; an override that is not None takes precedence.

    Raises:
        OptionError: a value is invalid; the message names its variable.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = (f"DD2D_{str(each['loc'][0]).upper()}: {each['msg']}." for each in error.errors())
        raise OptionError(" ".join(problems)) from None
