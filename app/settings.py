"""What an operator sets: environment variables `DD2D_*`, each described here and in docs/settings.md."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.errors import OptionError

_ORIGIN = re.compile(r"\*|https?://[^\s/?#@]+")


def _separated(given: object) -> object:
    if not isinstance(given, str):
        return given
    return tuple(part.strip() for part in given.split(",") if part.strip()) or None


def _origins(given: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """A browser sends scheme, host and port; anything more would silently never match."""
    wrong = [origin for origin in given or () if not _ORIGIN.fullmatch(origin)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no origin; give scheme, host and port alone: https://lab.org")
    return given


Names = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_separated)]
Origins = Annotated[Names, AfterValidator(_origins)]


class Settings(BaseSettings):
    """The settings of one process; read once, then passed on."""

    model_config = SettingsConfigDict(env_prefix="DD2D_", frozen=True, extra="forbid")

    index: Path = Field(
        default=Path("indexes/starter"),
        description="Folder of the index that is searched (`dd2d index build`).",
    )
    model: Path | None = Field(
        default=None,
        description="Folder of the trained towers; the shipped ones if not set. The index must be theirs.",
    )
    user_structures: Path | None = Field(
        default=None,
        description="File of the structures that users add, on a local disk; `user_structures.sqlite` in the "
        "index folder if not set.",
    )
    calibrations: Path | None = Field(
        default=None, description="Folder of the cameras' calibrations that `dd2d calibrate` made."
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; set `DD2D_KEYS` before it is another than loopback.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    keys: Path | None = Field(
        default=None,
        description="File of the API keys (`dd2d key create`). Without one everybody may read and nobody write.",
    )
    rate_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Requests a minute of one key, or without keys of one address; more get a 429. No limit if not "
        "set.",
    )
    rate_burst: int = Field(
        default=10, ge=1, le=100_000, description="Requests at once before `DD2D_RATE_PER_MINUTE` counts."
    )
    cors_origins: Origins = Field(
        default=None,
        description="Origins whose pages may ask from a browser, with commas (`https://lab.org`); none if not set.",
    )
    allowed_hosts: Names = Field(
        default=None,
        description="Host names that are answered besides localhost and numbers, with commas (`*.lab.org`, `*`). If "
        "not set: no others on loopback, any elsewhere.",
    )
    trusted_proxies: Names = Field(
        default=None,
        description="Addresses or networks of proxies whose X-Forwarded-For is believed, with commas; none if not "
        "set.",
    )
    max_upload_bytes: int = Field(
        default=64 * 2**20,
        ge=1024,
        description="Largest upload in bytes; a larger one is cut off with a 413.",
    )
    max_json_bytes: int = Field(
        default=16 * 2**20, ge=1024, description="Largest JSON request in bytes; a larger one gets a 413."
    )
    max_batch_bytes: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="Largest request of many patterns in bytes; a larger one gets a 413.",
    )
    stall_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds in which 64 KiB more of a request have to come, or its end; a slower one gets a 408. A "
        "batch whose client takes no line for so long is ended, too.",
    )
    workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Processes that compute requests, one at a time each; as many as there are cores.",
    )
    queue: int = Field(
        default=256, ge=0, description="Requests that may wait for a worker; the next one gets a 429."
    )
    queue_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Bytes of uploads that may wait together; the next one gets a 429.",
    )
    deadline_s: float = Field(
        default=30.0, gt=0, le=600, description="Seconds until a request that has no answer yet gets a 503."
    )
    torch_threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Threads of the computations within one request; more seldom help.",
    )
    log_level: str = Field(
        default="info",
        pattern="^(critical|error|warning|info|debug)$",
        description="Least severe messages logged: critical, error, warning, info or debug.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines of the log: `text` for people, `json` for machines."
    )


def read_settings(**given: object) -> Settings:
    """Settings of the environment, with what is given here in their place; None gives nothing.

    Raises:
        OptionError: a value that is impossible, named as its variable.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = (f"DD2D_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors())
        raise OptionError("; ".join(problems)) from None
