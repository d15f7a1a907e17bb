"""What passes between a route and the worker that computes its answer: JSON and bytes, nothing that is executed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app import errors as app_errors
from app.errors import InternalError
from app.observability.logging import REQUEST_ID
from model import errors as model_errors
from model.errors import DomainError

Told = Mapping[str, Any]

_ERRORS = {
    name: each
    for module in (model_errors, app_errors)
    for name, each in vars(module).items()
    if isinstance(each, type) and issubclass(each, DomainError)
}


@dataclass(frozen=True)
class Job:
    """What is asked of a worker.

    Attributes:
        kind: which of the desk's works.
        asked: its arguments, as JSON.
        blobs: uploads, and whatever else is bytes.
        request_id: of the request that it was made for; of what the worker logs.
    """

    kind: str
    asked: Told = field(default_factory=dict)
    blobs: tuple[bytes, ...] = ()
    request_id: str = field(default_factory=REQUEST_ID.get)

    @property
    def size(self) -> int:
        """Bytes of its uploads."""
        return sum(len(blob) for blob in self.blobs)


@dataclass(frozen=True)
class Reply:
    """What came of it.

    Attributes:
        told: as JSON.
        blobs: the answer's body first, where the route sends one.
    """

    told: Told = field(default_factory=dict)
    blobs: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why nothing came of it.

    Attributes:
        kind: name of the domain error's class; empty for an error that nobody foresaw, which the worker has logged.
        detail: its sentence.
    """

    kind: str
    detail: str

    @classmethod
    def of(cls, error: DomainError) -> "Failure":
        """From an error that was raised on purpose."""
        known = next(each.__name__ for each in type(error).__mro__ if each.__name__ in _ERRORS)
        return cls(known, str(error))

    def error(self) -> Exception:
        """To be raised where the answer is awaited."""
        return _ERRORS[self.kind](self.detail) if self.kind in _ERRORS else InternalError(self.detail)


Outcome = Reply | Failure
Answered = Callable[[int, Outcome], None]


class Desk(Protocol):
    """Computes jobs; `app.workers.handlers.Desk` is one."""

    def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
        """Compute jobs that waited together; each is answered, by its place, as soon as it is done."""
        ...
