"""The service ends, with all its processes, however it is stopped and whatever its workers do."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")

SERVE = (sys.executable, "-P", "-c", "from app.cli.main import main; raise SystemExit(main())", "serve")
DEADLINE_S = 2.0
MAX_END_S = 60.0


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def request(port: int, method: str, path: str, body: object = None) -> int | None:
    """Return the status of the response; None if there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=MAX_END_S)
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def run_service(index: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, list[int]]]:
    """Yield a service with two workers, its port, and the ids of what its launcher has started.

    These are the workers, the process that reads structures, and the standby.
    All processes of the service write to one pipe, which ends when the last of them has.
    """
    port = find_free_port()
    process = subprocess.Popen(
        [*SERVE, "--index", str(index), "--port", str(port)],
        stderr=subprocess.PIPE,
        env={**os.environ, "DD2D_DEADLINE_S": str(DEADLINE_S), "DD2D_WORKERS": "2"},
    )
    with process:
        try:
            while request(port, "GET", "/readyz") != 200:
                assert process.poll() is None
                time.sleep(0.1)
            (launcher,) = list_children(process.pid)
            while len(list_children(launcher)) < 4:
                time.sleep(0.1)
            yield process, port, list_children(launcher)
        finally:
            process.kill()


@contextmanager
def hang(workers: list[int], port: int) -> Iterator[list[int | None]]:
    """Stop processes while each worker has a job; at the end, the list holds the statuses of the responses."""
    statuses: list[int | None] = []
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)

    def post() -> None:
        statuses.append(request(port, "POST", "/predict", {"points": [[0.4, 0.0], [0.0, 0.4], [0.4, 0.4]]}))

    threads = [threading.Thread(target=post) for _ in workers]
    for thread in threads:
        thread.start()
    while request(port, "GET", "/livez") != 200:
        pass
    yield statuses
    for thread in threads:
        thread.join()


def test_a_stop_answers_what_runs_until_its_deadline_and_ends_hung_workers(starter: Path) -> None:
    with run_service(starter) as (process, port, workers), hang(workers, port) as statuses:
        process.terminate()
        process.communicate(timeout=MAX_END_S)
        assert process.returncode == 0
    assert 503 in statuses
    assert set(statuses) <= {200, 503, None}


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (subprocess.Popen.kill, -signal.SIGKILL),
        (lambda process: send_twice(process, signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda process: send_twice(process, signal.SIGINT), 128 + signal.SIGINT),
    ],
)
def test_a_killed_service_and_a_second_signal_end_everything_at_once(
    starter: Path, end: Callable[["subprocess.Popen[bytes]"], None], status: int
) -> None:
    with run_service(starter) as (process, port, workers), hang(workers, port):
        end(process)
        process.communicate(timeout=MAX_END_S)
        assert process.returncode == status


def test_nothing_outlives_a_service_that_is_killed_together_with_its_launcher(starter: Path) -> None:
    with run_service(starter) as (process, _, _):
        for pid in (*list_children(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=MAX_END_S)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_service_whose_standby_has_taken_over(
    starter: Path, number: signal.Signals
) -> None:
    with run_service(starter) as (process, port, _):
        (launcher,) = list_children(process.pid)
        os.kill(launcher, signal.SIGKILL)
        while list_children(process.pid):  # the new launcher is the child of another process
            time.sleep(0.01)
        while request(port, "GET", "/readyz") != 200:
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=MAX_END_S)


def send_twice(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal again as soon as it has been received: until then, two count as one."""
    assert process.stderr is not None
    process.send_signal(number)
    while b"Shutting down" not in process.stderr.readline():
        pass
    process.send_signal(number)


def test_a_signal_while_the_service_starts_ends_everything(starter: Path) -> None:
    process = subprocess.Popen(
        [*SERVE, "--index", str(starter), "--port", "0"],
        stderr=subprocess.PIPE,
    )
    with process:
        while not list_children(process.pid):
            time.sleep(0.01)
        process.terminate()
        _, log = process.communicate(timeout=MAX_END_S)
        assert process.returncode != 0
        assert b"Traceback" not in log
