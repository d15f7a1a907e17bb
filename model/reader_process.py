"""Uploads are parsed in processes with limits of time and memory, because a parser may crash, hang or need gigabytes.

A template process imports the parser once and forks a process for each upload, which therefore starts within
milliseconds. The system itself enforces the limits of that process. The template ends when the socket to it closes, in
whichever way its owner ended, and the forked processes end with the template.
"""

import atexit
import ctypes
import fcntl
import gc
import json
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from math import ceil
from threading import Lock
from typing import NoReturn

from model import errors
from model.errors import DomainError, UnreadableError

logger = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview
Parse = Callable[[bytearray], Sequence[Buffer]]

# -P: files in the working directory must not shadow the installed packages.
_COMMAND = (sys.executable, "-P", "-c", "from model.reader_process import main; main()")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_MAX_START_S = 60.0
_CLOCK_FACTOR = 2.0
_HEADER = struct.Struct("<BQ")  # kind of the message, and its size in bytes
_STARTED, _CONTENT, _REFUSAL, _FAILURE = range(4)
_PR_SET_PDEATHSIG = 1


class ReaderProcess:
    """Parses uploads, each in a process of its own; safe to use from several threads.

    Args:
        parser: "module:function" of a function that takes the bytes of an upload and returns buffers. It may raise a
            DomainError.
        failure: message for an upload on which the parser fails in any other way: it crashes, or exceeds a limit.
        cpu_s: limit of its CPU time; it may take twice as long by the clock.
        max_memory_bytes: limit of the memory that the process may write to.
    """

    def __init__(self, parser: str, failure: str, cpu_s: float, max_memory_bytes: int) -> None:
        self._arguments = (parser, str(cpu_s), str(max_memory_bytes))
        self._failure = failure
        self._patience_s = _CLOCK_FACTOR * cpu_s + _MAX_START_S
        self._lock = Lock()
        self._template: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        atexit.register(self.close)

    def read(self, upload: Sequence[Buffer]) -> bytearray:
        """Parse an upload, and return what the parser returned.

        Args:
            upload: its bytes, in one or more pieces.

        Raises:
            DomainError: the parser refuses the upload.
            UnreadableError: the parser fails or exceeds a limit.
        """
        kind, reply = (
            self._exchange(upload) or self._exchange(upload) or (_FAILURE, bytearray(b"It has died."))
        )
        if kind == _REFUSAL:
            name, message = json.loads(reply)
            raise getattr(errors, name)(message)
        if kind == _FAILURE:
            logger.warning("A parser of uploads failed.\n%s", reply.decode("utf-8", "replace"))
            raise UnreadableError(self._failure)
        return reply

    def _exchange(self, upload: Sequence[Buffer]) -> tuple[int, bytearray] | None:
        """Have a process parse an upload; None if it has ended together with the template."""
        with self._connect() as process:
            try:
                _send(process, _CONTENT, upload)
                return _receive(process)
            except OSError as error:  # the process was ended
                if self._has_template():
                    raise UnreadableError(self._failure) from error
                return None

    def _has_template(self) -> bool:
        try:
            return self._control is not None and bool(self._control.recv(1, socket.MSG_DONTWAIT))
        except OSError as error:
            return isinstance(error, BlockingIOError)

    def start(self) -> None:
        """Start the template now, so that the first upload need not wait for its imports."""
        with self._lock:
            self._start_template()

    def close(self) -> None:
        """End the template and the processes that it forked; the next upload starts another one."""
        with self._lock:
            if self._template is not None and self._control is not None:
                self._control.close()
                self._template.kill()
                self._template.wait()
                self._template = self._control = None

    def _connect(self) -> socket.socket:
        """Return a connection to a new process; a template that has ended is replaced."""
        try:
            return self._request_process()
        except OSError:
            self.close()
            return self._request_process()

    def _request_process(self) -> socket.socket:
        process, theirs = socket.socketpair()
        try:
            process.settimeout(self._patience_s)
            with theirs, self._lock:
                socket.send_fds(self._start_template(), [b"\0"], [theirs.fileno()])
            _receive(process)
        except BaseException:
            process.close()
            raise
        return process

    def _start_template(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._template = subprocess.Popen(
                    (*_COMMAND, *self._arguments),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, **_ONE_THREAD},
                )
            self._control = ours
        return self._control


def main() -> None:
    """Run the template, whose standard input is a socket on which connections arrive.

    One forked process always waits for the next connection, because a fork takes longer than most uploads.
    """
    parser, cpu_s, max_memory_bytes = sys.argv[1:]
    module, _, name = parser.partition(":")
    parse: Parse = getattr(import_module(module), name)
    gc.freeze()  # so that collections in the forked processes do not copy what they share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system removes processes that have ended
    template = os.getpid()
    while True:
        busy, report = os.pipe()
        if os.fork() == 0:
            _limit_process(template, int(max_memory_bytes))
            _serve(_accept(report, float(cpu_s)), parse)
        os.close(report)
        if not os.read(busy, 1):
            return  # the owner has ended
        os.close(busy)


def _limit_process(template: int, max_memory_bytes: int) -> None:
    """Have the system end this process together with the template, and limit what it writes."""
    with suppress(AttributeError, OSError):  # only Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != template:
        os._exit(1)
    for limit, value in (
        (resource.RLIMIT_DATA, max_memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _accept(report: int, cpu_s: float) -> socket.socket:
    """Wait for a connection, report it to the template, and have the system end this process at its limits of time."""
    with socket.socket(fileno=os.dup(0)) as control:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not descriptors:
        os._exit(0)
    os.write(report, b"\0")
    os.close(report)
    signal.setitimer(signal.ITIMER_REAL, _CLOCK_FACTOR * cpu_s)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(cpu_s), ceil(cpu_s)))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 2):  # the socket of the template, and the log
        os.dup2(nothing, descriptor)
    return socket.socket(fileno=descriptors[0])


def _serve(connection: socket.socket, parse: Parse) -> NoReturn:
    """Parse one upload in this process, send the reply, and end the process."""
    try:
        _send(connection, _STARTED, [])
        _, upload = _receive(connection)
        _bind_to_peer(connection, True)
        try:
            kind, reply = _CONTENT, parse(upload)
        except DomainError as error:
            kind, reply = _REFUSAL, [json.dumps([type(error).__name__, str(error)]).encode()]
        except Exception:
            kind, reply = _FAILURE, [traceback.format_exc().encode("utf-8", "replace")]
        _bind_to_peer(connection, False)
        _send(connection, kind, reply)
    finally:
        os._exit(0)


def _bind_to_peer(connection: socket.socket, is_bound: bool) -> None:
    """Choose whether Linux ends this process as soon as anything happens on the connection.

    While an upload is parsed, that can only be its end: the process that awaited the reply has been killed.
    """
    flags = fcntl.fcntl(connection, fcntl.F_GETFL) & ~os.O_ASYNC
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, flags | os.O_ASYNC if is_bound else flags)


def _send(connection: socket.socket, kind: int, pieces: Sequence[Buffer]) -> None:
    views = [memoryview(piece).cast("B") for piece in pieces]
    connection.sendall(_HEADER.pack(kind, sum(map(len, views))))
    for view in views:
        connection.sendall(view)


def _receive(connection: socket.socket) -> tuple[int, bytearray]:
    kind, size = _HEADER.unpack(_receive_exactly(connection, _HEADER.size))
    return kind, _receive_exactly(connection, size)


def _receive_exactly(connection: socket.socket, size: int) -> bytearray:
    received = bytearray(size)
    view = memoryview(received)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise ConnectionError("The other process has ended.")
        view = view[count:]
    return received
