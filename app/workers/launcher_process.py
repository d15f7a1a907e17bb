"""The service's side of the launcher and of its standby."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from app.workers import launcher

# -P: files in the working directory must not shadow the installed packages.
_COMMAND = (sys.executable, "-P", "-c", "from app.workers.launcher import main; main()")
_MAX_START_S = 120.0
_MAX_EXIT_S = 1.0
_CHECK_S = 1.0  # a standby that dies over and over is not forked more often than that


class Launcher:
    """The service's side of the process that forks the workers; it starts with the first worker.

    When the next worker starts, a launcher that has died is replaced by its standby, of which there is one within a
    second on Linux. A launcher without a standby, or one that does not answer, is replaced by a new process.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._workers: set[int] = set()
        self._active: _LauncherProcess | None = None
        self._standby: _LauncherProcess | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start_worker(self, descriptor: int) -> int:
        """Start a worker that serves a socket, and return its process id.

        Raises:
            OSError: no process can be started.
        """
        async with self._turn:
            active = await self._ensure_active()
            pid = await self._start(active, launcher.START_WORKER, descriptor)
            self._workers.add(pid)
        # Elsewhere, some libraries do not survive a fork once they are loaded.
        if sys.platform == "linux" and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.create_task(self._keep_standby())
        return pid

    async def end_worker(self, pid: int) -> int | None:
        """Kill a worker, unless it has exited, and return its exit status; None if its launcher has died."""
        async with self._turn:
            if pid not in self._workers or self._active is None:
                return None
            self._workers.remove(pid)
            with suppress(OSError, TimeoutError):
                return await self._request(self._active, pid)
            return None

    async def close_unused(self) -> None:
        """Let the process exit if it has no worker left."""
        async with self._turn:
            if not self._workers:
                await self._close()

    async def _ensure_active(self) -> "_LauncherProcess":
        while self._active is not None and not self._active.is_running:
            self._workers.clear()  # they have died with it
            dead, self._active, self._standby = self._active, self._standby, None
            await dead.end()
        if self._active is None:
            self._active = await _connect(_spawn)
        return self._active

    async def _keep_standby(self) -> None:
        """Have a standby started, and another one when it has died or taken over."""
        while self._active is not None:
            await asyncio.sleep(_CHECK_S)
            async with self._turn:
                with suppress(OSError):  # try again later
                    await self._ensure_standby()

    async def _ensure_standby(self) -> None:
        active, standby = self._active, self._standby
        if active is None or (standby is not None and standby.is_running):
            return
        if standby is not None:
            self._standby = None
            standby.control.close()
            await self._request(active, standby.pid)
        self._standby = await _connect(partial(self._start, active, launcher.START_STANDBY))

    async def _start(self, process: "_LauncherProcess", message: int, descriptor: int) -> int:
        pid = await self._request(process, message, [descriptor])
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    async def _request(
        self, process: "_LauncherProcess", message: int, descriptors: Sequence[int] = ()
    ) -> int:
        try:
            return await process.request(message, descriptors)
        except ConnectionError:  # it has died
            raise
        except BaseException:  # also if canceled: the reply would be taken for that of the next request
            await self._close()
            raise

    async def _close(self) -> None:
        """Let the process kill the workers and exit, and its standby with it."""
        processes = [each for each in (self._active, self._standby) if each is not None]
        self._active = self._standby = None
        self._workers.clear()
        await asyncio.gather(*(each.end() for each in processes))


@dataclass(frozen=True)
class _LauncherProcess:
    """A launcher or a standby, and the connection to it, of which no other process has a copy."""

    pid: int
    control: socket.socket

    @property
    def is_running(self) -> bool:
        try:
            return bool(self.control.recv(1, socket.MSG_PEEK))
        except OSError as error:
            return isinstance(error, BlockingIOError)

    async def request(self, message: int, descriptors: Sequence[int]) -> int:
        """Send a request and return the reply.

        Raises:
            ConnectionError: the process has died.
            TimeoutError: it does not answer.
        """
        socket.send_fds(self.control, [launcher.MESSAGE.pack(message)], descriptors)
        reply = await asyncio.wait_for(self._receive(), _MAX_START_S)
        if len(reply) < launcher.MESSAGE.size:
            raise ConnectionResetError("The process that starts the workers has exited.")
        return int(launcher.MESSAGE.unpack(reply)[0])

    async def end(self) -> None:
        """Close the connection, upon which the process exits; kill it if it does not."""
        try:
            self.control.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_MAX_EXIT_S):
                while await self._receive():
                    pass
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
        except OSError:
            pass  # it has died
        finally:
            self.control.close()
        with suppress(ChildProcessError):  # a standby whose launcher has died is the child of another process
            os.waitpid(self.pid, 0)

    async def _receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.control, launcher.MESSAGE.size)


async def _connect(start: Callable[[int], Awaitable[int]]) -> _LauncherProcess:
    """Start a process with a connection to it, by a function that takes its end and returns its id."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        try:
            return _LauncherProcess(await start(theirs.fileno()), ours)
        except BaseException:
            ours.close()
            raise


async def _spawn(descriptor: int) -> int:
    """Start a launcher whose standard input is a socket, and return its process id."""
    process = subprocess.Popen(
        # The argument tells whose process it is, also when its parent has died.
        (*_COMMAND, str(os.getpid())),
        stdin=descriptor,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    process.returncode = 0  # it is awaited by its id, as the standby is
    return process.pid
