"""Processes are killed at random moments: acknowledged changes are kept, and the index stays sound."""

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
# How many acknowledgments to wait for before the kill, and how long after them it may come.
MAX_LINES, MAX_DELAY_S = 12, 0.02
LAYERS = 40


def work(served: Path, built: list[Path], name: str, pipe: int, *, publishes: bool) -> None:
    """Add and remove structures, publish and roll back; acknowledge each change on a line of its own."""
    library = LiveIndex.open(served, RadialEncoder(), watch_s=None)
    os.write(pipe, b"begun\n")
    for step in range(10_000):
        id = f"{name} {step}"
        library.add(NewUserStructure(crystal(step % LAYERS), id))
        os.write(pipe, f"+{id}\n".encode())
        if step % 3 == 2:
            os.write(pipe, f"?{id}\n".encode())
            library.remove(id)
            os.write(pipe, f"-{id}\n".encode())
        if publishes and step % 2:
            publish_copy(built[step // 2 % len(built)], served)
            library.refresh()
        elif publishes and step % 4 == 2:
            with suppress(OptionError):
                roll_back(served)


@dataclass
class Worker:
    """A process that works until it is killed, and the changes that it has acknowledged."""

    child: int
    out: int
    output: bytes = b""
    added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, served: Path, built: list[Path], name: str, *, publishes: bool) -> "Worker":
        out, pipe = os.pipe()
        child = os.fork()
        if child:
            os.close(pipe)
            return cls(child, out)
        try:
            os.close(out)
            work(served, built, name, pipe, publishes=publishes)
        finally:
            os._exit(1)  # the child must not continue with the tests

    def await_lines(self, count: int) -> None:
        while self.output.count(b"\n") < count:
            content = os.read(self.out, 4096)
            assert content, "the process has ended by itself"
            self.output += content

    def kill(self) -> None:
        os.kill(self.child, signal.SIGKILL)

    def collect(self) -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1]) == -signal.SIGKILL
        with os.fdopen(self.out, "rb") as rest:
            lines = (self.output + rest.read()).decode().splitlines()
        for line in lines[1:]:
            kind, id = line[0], line[1:]
            self.added.discard(id)
            if kind != "?":
                (self.added if kind == "+" else self.removed).add(id)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_acknowledged_changes_survive_every_kill(tmp_path: Path) -> None:
    encoder, chance = RadialEncoder(), random.Random(20260131)
    built = [tmp_path / f"built {count}" for count in (2, 3, 4)]
    for count, folder in enumerate(built, start=2):
        source = write_lines(tmp_path / f"{count}", [document(LAYERS + i) for i in range(count)])
        build_index([source], folder, encoder)
    served = tmp_path / "served"
    publish_copy(built[0], served)
    added: set[str] = set()
    removed: set[str] = set()
    for run in range(KILLS):
        workers = [
            Worker.start(served, built, f"{name} {run}", publishes=name == "one") for name in ("one", "two")
        ]
        for each in workers:
            each.await_lines(1 + chance.randint(0, MAX_LINES))
        time.sleep(chance.uniform(0.0, MAX_DELAY_S))  # the moment is random on purpose
        for each in workers:
            each.kill()
        for each in workers:
            each.collect()
            added |= each.added
            removed |= each.removed
        check = verify_index(served, encoder)
        assert check.is_sound, check.problems
        with LiveIndex.open(served, encoder, watch_s=None).hold() as library:
            for id in added:
                assert same_structure(library.get_entry(id).crystal, crystal(int(id.split()[-1]) % LAYERS))
            for id in removed:
                with pytest.raises(KeyError):
                    library.get_entry(id)
    assert len(added) > KILLS
    assert removed
