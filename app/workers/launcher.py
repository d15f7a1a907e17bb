"""The launcher: a process that has imported everything and forks the worker processes.

A new worker is ready in a third of a second instead of two and a half, nearly all of which are imports, and workers
share the memory of what is imported. So a job that cannot be stopped is ended together with its worker, at little cost
to the other jobs.

The launcher opens no upload and computes nothing, so that nothing a client sends can hold it up. When the service
closes the connection or dies, it kills the workers and the processes that these have started. If it dies itself, Linux
kills the workers, and its standby forks the next ones: an idle copy of the launcher with a connection of its own, which
does not die with it.
"""

import ctypes
import gc
import importlib
import os
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

MESSAGE = struct.Struct("<i")
"""A message in either direction: `START_WORKER` or `START_STANDBY` with a socket, answered by the id of the new process
or a negative error number; or the id of a process to kill, answered by its exit status."""

START_WORKER = 0
START_STANDBY = -1

WORKER_NAME = b"dd2d-worker"
"""Name of the worker processes, which have the same command as the launcher, on Linux."""

_LIBRARIES = ("app.workers.handlers", "index.live.live_index", "model.towers.checkpoint")
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def main() -> None:
    """Run as a process whose standard input is a socket to the service."""
    # An interrupt from the terminal, or a stop of the whole process group, is the service's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    with open(os.devnull, "rb") as nothing:  # so that no worker holds the connection open
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    if sys.platform == "linux":  # elsewhere, some libraries do not survive a fork once they are loaded
        _import_libraries()
    children: set[int] = set()
    with suppress(ConnectionError):  # the service has died
        _serve(control, children)
    for pid in children:
        _end_process(pid)
    if os.getpgrp() == os.getsid(0):  # together with the standby and the process that reads structures
        os.killpg(0, signal.SIGKILL)
    os._exit(0)  # what the libraries do at an exit takes longer than all else here


def _import_libraries() -> None:
    """Import what a worker uses. Nothing is computed: threads, which computations start, do not survive a fork."""
    for module in _LIBRARIES:
        importlib.import_module(module)
    # The workers share the process that reads structures, whose imports take as long as all of theirs.
    from model.crystal.uploaded_structures import start_reading

    start_reading()
    gc.freeze()  # so that collections in the workers do not touch, and thereby copy, what they share


def _serve(control: socket.socket, children: set[int]) -> None:
    """Carry out requests until the service closes the connection; a standby goes on with a connection of its own."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, MESSAGE.size, 1)
        if len(request) < MESSAGE.size:
            return
        (message,) = MESSAGE.unpack(request)
        if message > 0:
            children.remove(message)
            reply = _end_process(message)
        else:
            connection = socket.socket(fileno=descriptors[0])
            launcher, reply = os.getpid(), _fork()
            if reply == 0:
                control.close()  # the service would not notice the death of the launcher
                if message == START_WORKER:
                    _work(connection, launcher)
                control = connection
                children.clear()
                _await_takeover(control)
                continue
            connection.close()
            if reply > 0:
                children.add(reply)
        control.sendall(MESSAGE.pack(reply))


def _fork() -> int:
    """Fork; return 0 in the new process, and otherwise its id or, if there can be none, a negative error number."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or 1)


def _await_takeover(control: socket.socket) -> None:
    """Wait for the first request; exit if the service ends before, and leave it to the launcher to end the others."""
    if not control.recv(1, socket.MSG_PEEK):
        os._exit(0)


def _work(connection: socket.socket, launcher: int) -> NoReturn:
    """Be a worker, which serves a connection, and exit."""
    status = 1
    try:
        _join_fate(launcher)
        _run_worker(connection)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _join_fate(launcher: int) -> None:
    """Make this process a group of its own, which is killed as one, and let it die with the launcher."""
    os.setpgid(0, 0)
    with suppress(AttributeError, OSError):  # only Linux has the function
        library = ctypes.CDLL(None)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        library.prctl(_PR_SET_NAME, WORKER_NAME)
    if os.getppid() != launcher:  # it died before the call
        os._exit(1)


def _run_worker(connection: socket.socket) -> None:
    from app.workers.worker import run_worker

    run_worker(connection)


def _end_process(pid: int) -> int:
    """Kill a worker and what it has started, or a standby; return its exit status.

    No other process can have the id: that of a child that has exited stays taken until this call.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
