"""The launcher: a process that has imported everything and forks the worker processes.

A new worker is ready in a third of a second instead of two and a half, nearly all of which are imports, and workers
share the memory of what is imported. So a job that cannot be stopped is ended together with its worker, at little cost
to the other jobs.

The launcher opens no upload and computes nothing, so that nothing a client sends can hold it up. When the service
closes the connection or dies, it kills the workers and the processes that these have started. If it dies itself, Linux
kills the workers.
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

MESSAGE = struct.Struct("<i")
"""A message in either direction: `START` with a socket, answered by the id of the new process or a negative error
number; or the id of a process to kill, answered by its exit status."""

START = 0

_LIBRARIES = ("app.workers.handlers", "index.live.live_index", "model.towers.checkpoint")
_PR_SET_PDEATHSIG = 1


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
    workers: set[int] = set()
    try:
        _serve(control, workers)
    except ConnectionError:
        pass  # the service has died
    finally:
        for pid in workers:
            _end_worker(pid)
        if os.getpgrp() == os.getpid():  # together with the process that reads structures
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


def _serve(control: socket.socket, workers: set[int]) -> None:
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, MESSAGE.size, 1)
        if len(request) < MESSAGE.size:
            return
        (pid,) = MESSAGE.unpack(request)
        if pid == START:
            reply = _start_worker(descriptors[0], control)
            if reply > 0:
                workers.add(reply)
        else:
            workers.remove(pid)
            reply = _end_worker(pid)
        control.sendall(MESSAGE.pack(reply))


def _start_worker(descriptor: int, control: socket.socket) -> int:
    """Fork a worker that serves a socket; return its process id or, if there can be none, a negative error number."""
    launcher = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid != 0:
        os.close(descriptor)
        return pid
    status = 1
    try:
        _join_fate(launcher)
        control.close()
        _run_worker(socket.socket(fileno=descriptor))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _join_fate(launcher: int) -> None:
    """Make this process a group of its own, which is killed as one, and let it die with the launcher."""
    os.setpgid(0, 0)
    with suppress(AttributeError, OSError):  # only Linux has the function
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:  # it died before the call
        os._exit(1)


def _run_worker(connection: socket.socket) -> None:
    from app.workers.worker import run_worker

    run_worker(connection)


def _end_worker(pid: int) -> int:
    """Kill a worker and what it has started; return its exit status.

    No other process can have the id: that of a worker that has exited stays taken until this call.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
