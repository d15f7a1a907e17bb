"""A worker that is a process: all cores are used, and what crashes or never ends takes one worker, not the service."""

import asyncio
import logging
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import NotReadyError
from app.settings import Settings
from app.workers import wire
from app.workers.dispatcher import WorkerLostError
from app.workers.messages import Answered, Failure, Job, Outcome, Reply

logger = logging.getLogger(__name__)

# -P: what lies in the working directory must not stand before the installed packages.
_COMMAND = (sys.executable, "-P", "-c", "from app.workers.worker import main; main()")
_LONGEST_START_S = 120.0
_LONGEST_END_S = 10.0
_BUFFER_BYTES = 2**20


class ProcessWorker:
    """The service's side of a worker process.

    Args:
        settings: of the service; the process opens their index.
        silence_s: without an answer for so long while it computes, it is ended as one that hangs.
    """

    def __init__(self, settings: Settings, silence_s: float) -> None:
        self._settings = settings
        self.silence_s = silence_s
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> Mapping[str, Any]:
        """Start a process and wait until it has opened the index and answered a pattern.

        Raises:
            DomainError: it cannot open the index; the message says why.
            NotReadyError: it ended, or could not be started.
        """
        await self._end()
        try:
            await self._begin()
        except OSError as error:  # no memory, or no free number, for one more
            raise NotReadyError(f"a worker process cannot be started: {error.strerror}") from error
        try:
            await self._send({"settings": self._settings.model_dump(mode="json")})
            head, _ = await asyncio.wait_for(wire.read_async(self._reader), _LONGEST_START_S)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            await self._end()
            raise NotReadyError("a worker process ended while it started; its log says why") from None
        if "failure" in head:
            await self._end()
            raise Failure(**head["failure"]).error()
        serving: Mapping[str, Any] = head["serving"]
        return serving

    async def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=_BUFFER_BYTES)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *_COMMAND,
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            except BaseException:
                self._writer.close()
                raise

    async def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
        """Send jobs, and pass on each answer as it comes.

        Raises:
            WorkerLostError: the process ended, or hung and was ended.
        """
        left = set(range(len(jobs)))
        try:
            for place, job in enumerate(jobs):
                asked = {"place": place, "of": len(jobs), "kind": job.kind, "asked": job.asked}
                asked["request_id"] = job.request_id
                await self._send(asked, job.blobs)
            while left:
                place, outcome = await asyncio.wait_for(self._outcome(), self.silence_s)
                left.discard(place)
                answered(place, outcome)
        except TimeoutError:
            await self._end()
            told = f"a worker had no answer for {self.silence_s:g} s and was ended; kinds: {_kinds(jobs)}"
            raise WorkerLostError(told) from None
        except (asyncio.IncompleteReadError, OSError):
            status = await self._end()
            raise WorkerLostError(f"a worker ended with status {status}; kinds: {_kinds(jobs)}") from None

    async def close(self) -> None:
        """Let the process end by itself; it has nothing left to do."""
        if self._process is None:
            return
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), _LONGEST_END_S)
        except TimeoutError:
            logger.warning("a worker did not end within %g s and is killed", _LONGEST_END_S)
        await self._end()

    async def _outcome(self) -> tuple[int, Outcome]:
        """The next answer, and whose it is."""
        head, blobs = await wire.read_async(self._reader)
        failure = head.get("failure")
        return head["place"], Reply(head["told"], blobs) if failure is None else Failure(**failure)

    async def _send(self, head: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        for piece in wire.packed(head, blobs):
            self._writer.write(piece)
        await self._writer.drain()

    async def _end(self) -> int | None:
        """Kill the process if there is one; returns its status."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        self._writer.close()
        if process.returncode is None:
            process.kill()
        return await process.wait()


def _kinds(jobs: Sequence[Job]) -> str:
    return ", ".join(job.kind for job in jobs)
