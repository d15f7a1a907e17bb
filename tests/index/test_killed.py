"""Processes that add and publish are killed at random moments: what they acknowledged is there, and the index sound."""

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from index.build.build import build_index
from index.build.inspection import verify_index
from index.live.live_index import LiveIndex
from index.live.new_user_structure import NewUserStructure
from index.storage.publish import publish_copy, roll_back
from model.errors import OptionError
from tests.index.layers import crystal, document, same_structure, write_lines
from tests.index.stand_in import RadialEncoder

KILLS = 12
# Lines that are awaited at most before the kill, and how long after them it may come.
MOST_LINES, LONGEST_S = 12, 0.02
LAYERS = 40


def work(served: Path, built: list[Path], name: str, told: int, *, publishes: bool) -> None:
    """Adds and removes structures, and publishes and goes back; each is acknowledged on a line of its own."""
    library = LiveIndex.open(served, RadialEncoder(), watch_s=None)
    os.write(told, b"begun\n")
    for step in range(10_000):
        id = f"{name} {step}"
        library.add(NewUserStructure(crystal(step % LAYERS), id))
        os.write(told, f"+{id}\n".encode())
        if step % 3 == 2:
            os.write(told, f"?{id}\n".encode())
            library.remove(id)
            os.write(told, f"-{id}\n".encode())
        if publishes and step % 2:
            publish_copy(built[step // 2 % len(built)], served)
            library.refresh()
        elif publishes and step % 4 == 2:
            with suppress(OptionError):
                roll_back(served)


@dataclass
class Worker:
    """A process that works until it is killed, and what it has acknowledged."""

    child: int
    out: int
    told: bytes = b""
    there: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, served: Path, built: list[Path], name: str, *, publishes: bool) -> "Worker":
        out, told = os.pipe()
        child = os.fork()
        if child:
            os.close(told)
            return cls(child, out)
        try:
            os.close(out)
            work(served, built, name, told, publishes=publishes)
        finally:
            os._exit(1)  # the child must never go on with the tests

    def await_lines(self, count: int) -> None:
        while self.told.count(b"\n") < count:
            told = os.read(self.out, 4096)
            assert told, "the process has ended by itself"
            self.told += told

    def kill(self) -> None:
        os.kill(self.child, signal.SIGKILL)

    def bury(self) -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1]) == -signal.SIGKILL
        with os.fdopen(self.out, "rb") as rest:
            lines = (self.told + rest.read()).decode().splitlines()
        for line in lines[1:]:
            kind, id = line[0], line[1:]
            self.there.discard(id)
            if kind != "?":
                (self.there if kind == "+" else self.gone).add(id)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_was_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    encoder, chance = RadialEncoder(), random.Random(20260131)
    built = [tmp_path / f"built {count}" for count in (2, 3, 4)]
    for count, folder in enumerate(built, start=2):
        source = write_lines(tmp_path / f"{count}", [document(LAYERS + i) for i in range(count)])
        build_index([source], folder, encoder)
    served = tmp_path / "served"
    publish_copy(built[0], served)
    there: set[str] = set()
    gone: set[str] = set()
    for run in range(KILLS):
        workers = [
            Worker.start(served, built, f"{name} {run}", publishes=name == "one") for name in ("one", "two")
        ]
        for each in workers:
            each.await_lines(1 + chance.randint(0, MOST_LINES))
        time.sleep(chance.uniform(0.0, LONGEST_S))  # the moment is what is random here
        for each in workers:
            each.kill()
        for each in workers:
            each.bury()
            there |= each.there
            gone |= each.gone
        found = verify_index(served, encoder)
        assert found.is_sound, found.problems
        with LiveIndex.open(served, encoder, watch_s=None).hold() as library:
            for id in there:
                assert same_structure(library.get_entry(id).crystal, crystal(int(id.split()[-1]) % LAYERS))
            for id in gone:
                with pytest.raises(KeyError):
                    library.get_entry(id)
    assert len(there) > KILLS
    assert gone
