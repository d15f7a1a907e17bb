"""What a worker process does: it opens the index, then computes what the service sends until that closes."""

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from app.settings import Settings
from app.workers import wire
from app.workers.messages import Failure, Job, Outcome, Reply
from model.errors import DomainError

if TYPE_CHECKING:
    from app.workers.handlers import Desk

logger = logging.getLogger(__name__)

_LARGE_BYTES = 2**20


def main() -> None:
    """Run as a process whose standard input is a socket to the service."""
    # A key pressed in the terminal, or a stop of the whole group, is the service's to deal with: it closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    try:
        with connection, connection.makefile("rb") as incoming, connection.makefile("wb") as outgoing:
            first = wire.read(incoming)
            if first is not None:
                _work(Settings(**first[0]["settings"]), incoming, outgoing)
    except ConnectionError:  # outside the block, whose end flushes what was not sent
        logger.warning("the service ended while a worker was computing")


def _work(settings: Settings, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    from app.observability.logging import configure_logging
    from app.workers.handlers import Desk

    configure_logging(settings.log_level, settings.log_format)
    try:
        desk = Desk.open(settings)
    except DomainError as error:
        failure = Failure.of(error)
        wire.write(outgoing, {"failure": {"kind": failure.kind, "detail": failure.detail}})
        return
    try:
        wire.write(outgoing, {"serving": desk.serving()})
        _answer_all(desk, incoming, outgoing)
    finally:
        desk.close()


def _answer_all(desk: "Desk", incoming: BinaryIO, outgoing: BinaryIO) -> None:
    def answered(place: int, outcome: Outcome) -> None:
        if isinstance(outcome, Reply):
            wire.write(outgoing, {"place": place, "told": outcome.told}, outcome.blobs)
        else:
            failure = {"kind": outcome.kind, "detail": outcome.detail}
            wire.write(outgoing, {"place": place, "failure": failure})

    while True:
        jobs = _batch(incoming)
        if not jobs:
            return
        desk.compute(jobs, answered)
        if sum(job.size for job in jobs) > _LARGE_BYTES:
            _give_back_memory()


def _give_back_memory() -> None:
    """Let the system have what large uploads took: the allocator keeps it, 55 MB after frames of 1024 pixels.

    It takes a millisecond, between answers. Only glibc has it.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _batch(incoming: BinaryIO) -> Sequence[Job]:
    """Jobs that were sent together; none where the service has closed."""
    jobs: list[Job] = []
    while True:
        message = wire.read(incoming)
        if message is None:
            return []
        head, blobs = message
        jobs.append(Job(head["kind"], head["asked"], blobs, head["request_id"]))
        if len(jobs) == head["of"]:
            return jobs
