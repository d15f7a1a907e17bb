"""The attacker: a process of its own, so that the ordinary client's times are not its times."""

import asyncio
import multiprocessing
import os
import resource
import time
from collections import Counter
from multiprocessing.connection import Connection
from threading import Event

from bench.attacks.requests import Target

_NICE = 5
_MAX_PREPARE_S = 120.0
_MAX_OVERRUN_S = 15.0


def limit_files(count: int | None) -> None:
    """Limit the files that this process and those that it starts may open; None for as many as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if count is None or 0 <= hard < count else count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _run(name: str, port: int, key: str, seconds: float, pipe: Connection) -> None:
    from bench.attacks.connections import CONNECTION_ATTACKS
    from bench.attacks.uploads import PREPARE

    os.nice(_NICE)
    limit_files(None)
    attack = PREPARE[name](Target(port, key, 0.0)) if name in PREPARE else CONNECTION_ATTACKS[name]
    pipe.send("ready")
    pipe.recv()
    target = Target(port, key, time.monotonic() + seconds)

    async def run() -> Counter[str]:
        return await attack(target)

    pipe.send(asyncio.run(run()))


class Attacker:
    """Prepares an attack in another process when it is made; `attack` runs it, `close` ends the process.

    Args:
        name: name of the attack.
        port: port of the service.
        key: API key of the attacker, empty for none.
        seconds: duration of the attack.

    Raises:
        RuntimeError: the attack could not be prepared.
    """

    def __init__(self, name: str, port: int, key: str, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._seconds = seconds
        self._process = context.Process(target=_run, args=(name, port, key, seconds, theirs), daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not self._pipe.poll(_MAX_PREPARE_S):
                raise EOFError
            self._pipe.recv()
        except EOFError:
            self.close()
            raise RuntimeError(f"The attack {name} could not be prepared.") from None

    async def attack(self, stop: Event) -> Counter[str]:
        """Run the attack and return what the attackers saw; end it early when `stop` is set."""
        self._pipe.send("go")
        deadline = time.monotonic() + self._seconds + _MAX_OVERRUN_S
        while not self._pipe.poll():
            if stop.is_set():
                return Counter({"stopped: too much memory": 1})
            if time.monotonic() > deadline:
                return Counter({"stopped: too long": 1})
            await asyncio.sleep(0.05)
        seen = self._pipe.recv()
        assert isinstance(seen, Counter)
        return seen

    def close(self) -> None:
        """End the process and with it all its connections."""
        self._process.kill()
        self._process.join()
