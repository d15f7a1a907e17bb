"""What the dispatcher needs of workers, a worker of its handler, and both of their observer."""

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

from app.presentation.schemas.service import Provenance
from app.workers.messages import AnyJob, BeginJob, DeliverOutcome

LossReason = Literal["exited", "deadline", "abandoned", "slow"]
"""Why a worker is lost: by itself, or ended with a job that passed its deadline, whose client left, or that held up
others."""


class WorkerLostError(Exception):
    """A worker exited before it had answered every job."""


class Worker(Protocol):
    """Something that runs jobs, a few at a time."""

    @property
    def pid(self) -> int | None:
        """Id of the worker's process; None if there is currently none."""
        ...

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Done as soon as the worker has exited; another one after each start."""
        ...

    @property
    def found_damage(self) -> bool:
        """Whether the worker that has exited last did so because its model or its index is damaged."""
        ...

    async def start(self) -> Provenance:
        """Start the worker, or restart it after a crash, and return the provenance of its answers.

        Raises:
            DomainError: it cannot be made ready.
        """
        ...

    async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
        """Run jobs; return when the outcomes of all have been delivered.

        Raises:
            WorkerLostError: it exited.
        """
        ...

    async def kill(self) -> None:
        """End the worker at once, if that is possible."""
        ...

    async def close(self) -> None:
        """Stop the worker."""
        ...


class Handler(Protocol):
    """Runs jobs and delivers their outcomes, such as `app.workers.handlers.JobHandler`."""

    def handle(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
        """Run jobs that were queued together.

        Args:
            jobs: the jobs.
            deliver: takes each outcome as soon as it is known.
            begin: takes the number of the job that is computed from now on.
        """
        ...


class WorkerObserver(Protocol):
    """Observes the workers, such as the metrics of the service."""

    def record_batch(self, size: int) -> None:
        """Record the number of jobs that a worker ran together."""
        ...

    def record_damage(self, is_damaged: bool) -> None:
        """Record whether the model or the index is damaged, so that nothing is answered."""
        ...

    def record_lost_worker(self, reason: LossReason) -> None:
        """Record that a worker exited unexpectedly, or was ended together with its job."""
        ...
