"""The base class of every JSON object in an answer."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """An immutable JSON object; unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)
