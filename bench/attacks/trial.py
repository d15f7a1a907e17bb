"""One attack beside the ordinary client: what is measured, and the bars."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bench.attacks.attacker import Attacker
from bench.attacks.ordinary_client import PER_SECOND, Observation, OrdinaryClient
from bench.attacks.process_tree import MemoryWatch, measure_memory, read_log_size
from bench.attacks.signals import OPERATIONS
from bench.attacks.victim import Victim

MIN_SHARE_GOOD = 0.95
MAX_RECOVERY_S = 5.0
MAX_MEMORY = 2 * 2**30
# Where an attack is ended, so that a service without limits does not take the machine with it.
_STOP_MEMORY = 5 * 2**30

HEADER = (
    "attack", "attackers saw", "requests", "200 in 2 s, %", "others", "p50 ms", "p99 ms", "memory MiB", "log kB",
    "recovery s", "missed",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one attack did.

    Attributes:
        name: name of the attack.
        seen: what the attackers saw.
        observation: what the ordinary client saw.
        memory: peak over idle in bytes.
        logged: bytes written to the log.
        recovery_s: time until all was as before.
        survived: whether the service still runs.
    """

    name: str
    seen: Counter[str]
    observation: Observation
    memory: int
    logged: int
    recovery_s: float
    survived: bool

    def find_missed(self, *, with_times: bool) -> list[str]:
        """Return the bars that were missed, without those on times if they are no bars."""
        bars = {
            "foreign pages were answered": self.name == "foreign-pages" and bool(self.seen["200"]),
            describe(self.observation.intolerable): bool(self.observation.intolerable),
            "memory": self.memory > MAX_MEMORY,
            "the service ended": not self.survived,
            f"{self.observation.share_good:.0%} in time": with_times
            and self.observation.share_good < MIN_SHARE_GOOD,
            "recovery": with_times and self.recovery_s > MAX_RECOVERY_S,
        }
        reported = [
            f"{name.removeprefix('missed: ')} ({count})"
            for name, count in self.seen.items()
            if _is_missed(name)
        ]
        return reported + [name for name, is_missed in bars.items() if is_missed]

    def list_cells(self) -> list[object]:
        """Return the cells of the row of a table, without the last."""
        observation = self.observation
        return [
            self.name,
            describe(self.seen),
            len(observation.answers),
            f"{100 * observation.share_good:.1f}",
            describe(observation.others),
            observation.quantile_ms(0.5),
            observation.quantile_ms(0.99),
            round(self.memory / 2**20),
            round(self.logged / 1e3, 1),
            self.recovery_s,
        ]


def _is_missed(name: str) -> bool:
    return name.startswith(("missed: ", "stopped: "))


def describe(counts: Mapping[str, int]) -> str:
    """Return counts as text, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name}: {count}" for name, count in ordered) or "-"


class Trial:
    """A service, its idle memory and the ordinary client; `attack` runs one attack after the other.

    Args:
        victim: the service.
        questions: the requests of the ordinary client.
        seconds: duration of an attack.
    """

    def __init__(self, victim: Victim, questions: Mapping[str, list[bytes]], seconds: float) -> None:
        self._victim = victim
        self._client = OrdinaryClient(victim.port, questions)
        self._seconds = seconds
        self._idle_memory = 0
        self.idle: Observation | None = None

    async def attack(self, name: str) -> Outcome:
        """Run an attack, in another process or on the processes of the service."""
        if self.idle is None:
            self.idle = await self._client.measure_idle()
            self._idle_memory = measure_memory(self._victim.pid)
        victim = self._victim
        key = victim.keys.get("write", "")
        attacker = None if name in OPERATIONS else Attacker(name, victim.port, key, self._seconds)
        logged = read_log_size(victim.pid)
        with MemoryWatch(victim.pid, self._idle_memory + _STOP_MEMORY) as watch:
            over = asyncio.Event()
            observing = asyncio.create_task(self._client.observe(over))
            try:
                await asyncio.sleep(1 / PER_SECOND)
                seen = await (attacker.attack(watch.exceeded) if attacker else OPERATIONS[name](victim))
            finally:
                over.set()
                if attacker:
                    attacker.close()
            recovery_s = await self._client.measure_recovery()
            observation = await observing
        return Outcome(
            name=name,
            seen=seen,
            observation=observation,
            memory=watch.peak - self._idle_memory,
            logged=read_log_size(victim.pid) - logged if victim.is_running else 0,
            recovery_s=recovery_s,
            survived=victim.is_running,
        )
