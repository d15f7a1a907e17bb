"""Workers as processes, so that a crash or a hang affects one worker and not the service."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from app.errors import NotReadyError
from app.presentation.schemas.service import Provenance
from app.settings import Settings
from app.workers.interfaces import WorkerLostError
from app.workers.launcher_process import Launcher
from app.workers.messages import (
    AnyJob,
    BeginJob,
    DeliverOutcome,
    Failure,
    JobBatch,
    JobBegun,
    JobOutcome,
    Message,
    StartWorker,
    WorkerReady,
)
from app.workers.wire import encode_message, read_message_async
from app.workers.worker import DAMAGED_STATUS

logger = logging.getLogger(__name__)

_MAX_START_S = 120.0
_MAX_EXIT_S = 1.0
_BUFFER_BYTES = 2**20
# Linux sends SIGBUS to a process that reads a part of a mapped file that is gone.
_DAMAGED_STATUSES = (DAMAGED_STATUS, -signal.SIGBUS)


class ProcessWorker:
    """The service's side of a worker process.

    Args:
        settings: settings of the service; the process opens their index.
        launcher: starts the process.
    """

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        self._settings = settings
        self._launcher = launcher
        self._pid: int | None = None
        self._exit_status: int | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._lost: asyncio.Future[None]
        self._receive: Callable[[JobBegun | JobOutcome], None]

    @property
    def pid(self) -> int | None:
        """Id of the process, if it is running."""
        return self._pid

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Done as soon as the process has exited; another one after each start."""
        return self._lost

    @property
    def found_damage(self) -> bool:
        """Whether the last process exited because its model or its index is damaged."""
        return self._exit_status in _DAMAGED_STATUSES

    async def start(self) -> Provenance:
        """Start a process, wait until it has opened the index and answered a pattern, and return its provenance.

        Raises:
            DomainError: the process cannot open the index.
            NotReadyError: the process exited, or could not be started.
        """
        await self.kill()
        try:
            await self._spawn()
            await self._send(StartWorker(self._settings))
            ready = await asyncio.wait_for(read_message_async(self._reader), _MAX_START_S)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            await self.kill()
            raise NotReadyError(
                "A worker process exited during startup; see its log for the reason."
            ) from None
        except OSError as error:  # no memory, or no process id, for one more
            raise NotReadyError(f"A worker process cannot be started: {error.strerror}.") from error
        if isinstance(ready, WorkerReady):
            self._lost = asyncio.create_task(self._receive_all(self._reader))
            return ready.provenance
        await self.kill()
        raise ready.to_error() if isinstance(ready, Failure) else _unexpected(ready)

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=_BUFFER_BYTES)
            try:
                self._pid = await self._launcher.start_worker(theirs.fileno())
            except BaseException:
                self._writer.close()
                raise

    async def compute(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
        """Send jobs, and deliver each outcome as it arrives.

        Raises:
            WorkerLostError: the process exited.
        """
        pending = set(range(len(jobs)))
        is_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def receive(message: JobBegun | JobOutcome) -> None:
            if isinstance(message, JobBegun):
                begin(message.index)
                return
            pending.discard(message.index)
            deliver(message.index, message.outcome)
            if not pending and not is_done.done():
                is_done.set_result(None)

        self._receive = receive
        with suppress(OSError):  # that it has exited is seen below
            await self._send(JobBatch(tuple(jobs)))
        await asyncio.wait({is_done, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        if not is_done.done():
            raise WorkerLostError(f"its exit status was {await self._end()}")

    async def _receive_all(self, reader: asyncio.StreamReader) -> None:
        """Take the messages of a process until it exits."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while isinstance(message := await read_message_async(reader), JobBegun | JobOutcome):
                self._receive(message)
            logger.error("%s", _unexpected(message))

    async def kill(self) -> None:
        """Kill the process, if there is one."""
        await self._end()

    async def close(self) -> None:
        """Let the idle process exit by itself, and kill it if it does not."""
        if self._pid is not None:
            with suppress(TimeoutError, OSError):
                self._writer.write_eof()
                await asyncio.wait_for(asyncio.shield(self._lost), _MAX_EXIT_S)
            await self.kill()
        await self._launcher.close_unused()

    async def _send(self, message: Message) -> None:
        for piece in encode_message(message):
            self._writer.write(piece)
        await self._writer.drain()

    async def _end(self) -> int | None:
        """Kill the process, if there is one, and return its exit status."""
        if self._pid is None:
            return None
        pid, self._pid = self._pid, None
        self._exit_status = await self._launcher.end_worker(pid)
        self._writer.close()
        return self._exit_status


def _unexpected(message: Message) -> RuntimeError:
    return RuntimeError(f"A worker sent an unexpected {type(message).__name__}.")
