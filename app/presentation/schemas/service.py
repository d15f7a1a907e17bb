"""What the service reports about itself, and its error format."""

from typing import Literal

from pydantic import Field

from app.presentation.schemas.schema import Schema


class Provenance(Schema):
    """The software, model and index that produced an answer."""

    version: str = Field(description="Version of the software.")
    model: str = Field(description="Digest of the weights, `sha256:...`.")
    index: str = Field(description="Digest of the index, `sha256:...`, which excludes user structures.")
    crystals: int = Field(description="Number of crystals searched, including user structures.")
    user_structures: int = Field(default=0, description="Number of user structures among them.")


class ServedIndex(Schema):
    """The index version being served."""

    version: str = Field(description="Name of the version, which `POST /admin/reload` accepts.")
    created: str = Field(description="Time of creation, UTC in ISO 8601 format.")
    index: str = Field(description="Digest of the index, `sha256:...`.")
    crystals: int = Field(description="Number of crystals searched, including user structures.")
    user_structures: int = Field(description="Number of user structures among them.")


class Liveness(Schema):
    """The process responds."""

    status: Literal["alive"] = "alive"


class Readiness(Schema):
    """The model and the index answered a test pattern of graphene."""

    status: Literal["ready"] = "ready"
    crystals: int = Field(description="Number of crystals searched, including user structures.")
    canary_ms: float = Field(description="Duration of the search with the test pattern, in milliseconds.")
    workers: int = Field(description="Number of workers that are running.")


class Problem(Schema):
    """An error in the format of RFC 9457."""

    type: str = Field(description="Type of the problem, `urn:dd2d:problem:...` or `about:blank`.")
    title: str = Field(description="Short summary of the type.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="What is wrong, and what to do about it.")
    request_id: str = Field(description="Id of the request, which also appears in the service's log.")
