"""What an operator sets: environment variables `DD2D_*`, each described here and in docs/settings.md."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.errors import OptionError


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
    added: Path | None = Field(
        default=None,
        description="File of the structures that are added over HTTP, on a local disk; `added.sqlite` in the index "
        "folder if not set.",
    )
    calibrations: Path | None = Field(
        default=None, description="Folder of the cameras' calibrations that `dd2d calibrate` made."
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The service asks for no password: open it to a trusted network only.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_upload_bytes: int = Field(
        default=64 * 2**20,
        ge=1024,
        description="Largest upload in bytes; a larger one is cut off with a 413.",
    )
    max_json_bytes: int = Field(
        default=16 * 2**20, ge=1024, description="Largest JSON request in bytes; a larger one gets a 413."
    )
    workers: int = Field(
        default=2, ge=1, le=64, description="Requests computed at the same time, each in a thread of its own."
    )
    queue: int = Field(
        default=64, ge=0, description="Requests that may wait for a worker; the next one gets a 429."
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
