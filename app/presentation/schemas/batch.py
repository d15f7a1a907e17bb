"""The answer to `POST /predict/batch`: one line of JSON per pattern."""

from pydantic import Field

from app.presentation.schemas.predict import Answer
from app.presentation.schemas.schema import Schema
from app.presentation.schemas.service import Problem


class BatchProgress(Schema):
    """The progress of a batch."""

    file: int = Field(description="Number of the pattern's file, from 1.")
    files: int = Field(description="Number of files in the request.")


class BatchLine(Schema):
    """One line of the answer: the result for one pattern."""

    index: int = Field(description="Number of the pattern, from 0, in the order of the request.")
    name: str = Field(description="Name of the file; for a member of an archive, `archive.zip/member`.")
    image: int | None = Field(description="Number of the image, from 0, in a file with several images.")
    progress: BatchProgress
    status: int = Field(description="HTTP status code that the pattern would have had on its own.")
    answer: Answer | None = Field(description="The answer. Null if there is a problem.")
    problem: Problem | None = Field(description="The problem. Null if there is an answer.")
