"""The answer to `POST /replay`."""

from typing import Any

from pydantic import Field

from app.presentation.schemas.predict import Answer
from app.presentation.schemas.schema import Schema


class CandidateChange(Schema):
    """A candidate whose rank or probability changed."""

    id: str
    formula: str
    rank_stored: int | None = Field(description="Rank in the stored answer. Null if it was not a candidate.")
    rank_current: int | None = Field(
        description="Rank in the current answer. Null if it is no longer a candidate."
    )
    probability_stored: float | None = Field(description="Probability in the stored answer.")
    probability_current: float | None = Field(description="Probability in the current answer.")


class Replay(Schema):
    """The comparison of a stored answer with the current one."""

    request_id: str
    changed: bool = Field(
        description="Whether the verdict, the ranking or a probability (by more than 0.005) changed."
    )
    verdict_stored: str | None = Field(description="Verdict of the stored answer.")
    verdict_current: str | None = Field(description="Verdict of the current answer.")
    candidate_changes: list[CandidateChange] = Field(
        description="Candidates that appeared, disappeared or changed, in the current order."
    )
    provenance_changes: dict[str, list[Any]] = Field(
        description="Keys of `provenance` that differ: [stored, current]."
    )
    answer: Answer = Field(description="The current answer.")
