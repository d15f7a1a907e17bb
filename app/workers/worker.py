"""The worker process: opens the index, then runs jobs until the service closes the socket."""

import logging
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from app.settings import Settings
from app.workers.memory import limit_memory, trim_memory
from app.workers.messages import (
    AnyJob,
    Failure,
    JobBatch,
    JobBegun,
    JobOutcome,
    Outcome,
    StartWorker,
    WorkerReady,
)
from app.workers.wire import read_message, write_message
from model.errors import DomainError

if TYPE_CHECKING:
    from app.workers.handlers import JobHandler

logger = logging.getLogger(__name__)

DAMAGED_STATUS = 70
"""Exit status of a worker that has found its model or its index damaged."""

_LARGE_BYTES = 2**20


def run_worker(connection: socket.socket) -> None:
    """Serve one connection to the service until the service closes it."""
    try:
        with connection, connection.makefile("rb") as incoming, connection.makefile("wb") as outgoing:
            start = read_message(incoming)
            if isinstance(start, StartWorker):
                _work(start.settings, incoming, outgoing)
    except ConnectionError:  # outside the block, whose end flushes what has not been sent
        logger.warning("The service exited while a worker was running a job.")


def _work(settings: Settings, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    from app.observability.logging import configure_logging
    from app.workers.handlers import JobHandler

    configure_logging(settings.log_level, settings.log_format)
    try:
        handler = JobHandler.open(settings, _exit_damaged)
    except DomainError as error:
        logger.error("A worker cannot start. %s", error.log_text)
        write_message(outgoing, Failure.from_error(error))
        return
    try:
        limit_memory(settings.worker_memory_bytes)
        write_message(outgoing, WorkerReady(handler.provenance))
        while isinstance(batch := read_message(incoming), JobBatch):
            _answer(handler, batch.jobs, outgoing)
    finally:
        handler.close()


def _exit_damaged(_: DomainError) -> None:
    """End the process at once: no answer that is being computed may rest on what is damaged."""
    os._exit(DAMAGED_STATUS)


def _answer(handler: "JobHandler", jobs: Sequence[AnyJob], outgoing: BinaryIO) -> None:
    def deliver(index: int, outcome: Outcome) -> None:
        write_message(outgoing, JobOutcome(index, outcome))

    def begin(index: int) -> None:
        if len(jobs) > 1:
            write_message(outgoing, JobBegun(index))

    handler.handle(jobs, deliver, begin)
    if sum(job.upload_bytes for job in jobs) > _LARGE_BYTES:
        trim_memory()
