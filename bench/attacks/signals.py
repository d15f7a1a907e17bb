"""Attacks on the processes of a service: killed and stopped workers, and the end of the service itself."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from bench.attacks.attacker import Attacker
from bench.attacks.ordinary_client import Answer, ask
from bench.attacks.process_tree import list_descendants, list_launchers, wait_until_ended
from bench.attacks.requests import JSON, build_json, build_request
from bench.attacks.structures import MOS2_POINTS
from bench.attacks.victim import Victim, run_victim

MAX_READY_S = 2.0
GRACE_S = 35.0
OUTLIVING_S = 2.0
_PERIOD_S = 0.25

Operation = Callable[[Victim], Awaitable[Counter[str]]]


async def kill_one_worker(victim: Victim) -> Counter[str]:
    """Kill one worker, three times."""
    seen: Counter[str] = Counter()
    for _ in range(3):
        os.kill(victim.workers[0], signal.SIGKILL)
        seen += await _watch_readiness(victim, 4.0)
    return seen


async def kill_all_workers(victim: Victim) -> Counter[str]:
    """Kill all workers at once; they may return before anybody asks whether the service is ready."""
    for pid in victim.workers:
        os.kill(pid, signal.SIGKILL)
    return await _watch_readiness(victim, 10.0)


async def kill_the_launcher(victim: Victim) -> Counter[str]:
    """Kill the process that starts workers."""
    for pid in list_launchers(victim.pid):
        os.kill(pid, signal.SIGKILL)
    return await _watch_readiness(victim, 10.0)


async def stop_one_worker(victim: Victim) -> Counter[str]:
    """Stop one worker, so that it hangs but does not end."""
    stopped = victim.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        return await _watch_readiness(victim, 12.0)
    finally:
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)


async def _watch_readiness(victim: Victim, seconds: float) -> Counter[str]:
    """Ask /readyz four times a second and count the answers; late and wrong ones are missed bars."""
    seen: Counter[str] = Counter()
    request = build_request("GET", "/readyz", b"", JSON, "", {})
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        answer = await ask(victim.port, "readyz", request, timeout_s=10.0)
        seen[_judge_readiness(answer)] += 1
        await asyncio.sleep(_PERIOD_S)
    return seen


def _judge_readiness(answer: Answer) -> str:
    if answer.status not in {200, 503}:
        return f"missed: readyz {answer.status or 'without an answer'}"
    if answer.seconds > MAX_READY_S:
        return f"missed: readyz {answer.status} after {answer.seconds:.1f} s"
    return f"readyz {answer.status}"


OPERATIONS: dict[str, Operation] = {
    each.__name__.replace("_", "-"): each
    for each in (kill_one_worker, kill_all_workers, kill_the_launcher, stop_one_worker)
}


async def kill_the_service(victim: Victim) -> str:
    """Kill the service under load; the workers and readers must end with it."""
    with _Load(victim, "good-requests"):
        await asyncio.sleep(2.0)
        members = list_descendants(victim.pid)
        os.kill(victim.pid, signal.SIGKILL)
    return await _wait(members, OUTLIVING_S)


async def _terminate_during(attack: str, victim: Victim, *, after_s: float = 2.0) -> str:
    """End the service in the midst of an attack."""
    with _Load(victim, attack):
        await asyncio.sleep(after_s)
        return await _terminate(victim)


async def terminate_with_a_hung_worker(victim: Victim) -> str:
    """End the service while one worker hangs in the middle of a request."""
    body = build_json(points=MOS2_POINTS, effort="full")
    request = build_request("POST", "/predict", body, JSON, "", {})
    os.kill(victim.workers[0], signal.SIGSTOP)
    tasks = [asyncio.create_task(ask(victim.port, "points", request, 60.0)) for _ in range(8)]
    await asyncio.sleep(1.0)
    outcome = await _terminate(victim)
    for each in tasks:
        each.cancel()
    return outcome


async def terminate_with_an_idle_hung_worker(victim: Victim) -> str:
    """End the service while one worker hangs that has nothing to do."""
    os.kill(victim.workers[0], signal.SIGSTOP)
    return await _terminate(victim)


async def _terminate(victim: Victim) -> str:
    members = [victim.pid, *list_descendants(victim.pid)]
    os.kill(victim.pid, signal.SIGTERM)
    return await _wait(members, GRACE_S)


async def _wait(members: list[int], limit_s: float) -> str:
    """Wait until processes have ended and say how long that took."""
    seconds = await asyncio.to_thread(wait_until_ended, members, 2 * limit_s)
    if seconds is None:
        return f"missed: still running after {2 * limit_s:g} s"
    return f"{'missed: ' if seconds > limit_s else ''}all ended after {seconds:.1f} s"


class _Load:
    """An attack in the background of a `with` block."""

    def __init__(self, victim: Victim, name: str) -> None:
        self._attacker = Attacker(name, victim.port, "", 60.0)
        self._task = asyncio.create_task(self._attacker.attack(Event()))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._task.cancel()
        self._attacker.close()


ENDS: dict[str, Callable[[Victim], Awaitable[str]]] = {
    "kill-the-service": kill_the_service,
    "terminate-under-load": partial(_terminate_during, "good-requests"),
    "terminate-with-idle-connections": partial(_terminate_during, "idle-after-a-request"),
    "terminate-with-slow-bodies": partial(_terminate_during, "slow-bodies"),
    "terminate-with-unread-answers": partial(_terminate_during, "unread-answers", after_s=4.0),
    "terminate-with-a-hung-worker": terminate_with_a_hung_worker,
    "terminate-with-an-idle-hung-worker": terminate_with_an_idle_hung_worker,
}


def check_end(name: str, index: Path, folder: Path) -> str:
    """Run a service, end it in one of the ways of `ENDS`, and say how long that took."""

    async def run(victim: Victim) -> str:
        return await ENDS[name](victim)

    with TemporaryDirectory(dir=folder) as copy, run_victim(index, Path(copy)) as victim:
        return asyncio.run(run(victim))
