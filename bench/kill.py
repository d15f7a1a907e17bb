"""Kill processes that add structures and publish indexes, at random moments, and count lost changes.

    python -m bench.kill indexes/full [--kills 100]

Two processes work on a copy of the index with the shipped towers. Both add and remove structures; one also publishes
indexes and rolls back. After each kill, every acknowledged addition must be present, every acknowledged removal must be
gone, and the index must agree with its digests. Prints the counts as JSON.
"""

import argparse
import json
import multiprocessing
import random
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bench.library import build_parser
from index.build.inspection import verify_index
from index.encoder import Encoder
from index.live.live_index import LiveIndex
from index.live.new_user_structure import NewUserStructure, is_identical
from index.search.retriever import Retriever
from index.starter.library import read_starter_entries
from index.storage.catalog import Entry
from index.storage.layout import MANIFEST_NAME
from index.storage.manifest import Manifest
from index.storage.publish import publish_copy, roll_back
from index.storage.versions import find_version_folder
from model.crystal.crystal import Crystal
from model.errors import OptionError
from model.towers.checkpoint import load_towers
from model.towers.workers import limit_threads

MAX_DELAY_S = 1.0


@dataclass
class Counts:
    """Counts of events and errors."""

    rounds: int = 0
    killed: int = 0
    ended_by_themselves: int = 0
    unsound: int = 0
    there: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    came_back: set[str] = field(default_factory=set)


def main() -> None:
    options = _parse_options()
    limit_threads(1)
    encoder = load_towers()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["index.live.live_index", "model.towers"])
    chance, counts = random.Random(options.seed), Counts()
    crystals = [entry.crystal for entry in read_starter_entries()]
    with tempfile.TemporaryDirectory() as folder:
        served = Path(folder) / "served"
        publish_copy(options.index, served)
        for run in range(options.kills):
            begun = []
            for name in ("one", "two"):
                here, there = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(served, options.index, f"{name} {run}", there, name == "one")
                )
                process.start()
                there.close()
                begun.append((process, here))
            _kill(begun, chance, counts)
            _check(served, crystals, encoder, counts)
    report = {name: value if isinstance(value, int) else len(value) for name, value in vars(counts).items()}
    print(json.dumps(report, indent=1))


def _work(served: Path, source: Path, name: str, reports: Connection, publishes: bool) -> None:
    limit_threads(1)
    crystals = [entry.crystal for entry in read_starter_entries()]
    library = LiveIndex.open(served, load_towers())
    reports.send("begun")
    for step in range(10_000):
        id = f"{name} {step}"
        library.add(NewUserStructure(crystals[step % len(crystals)], id))
        reports.send(f"+{id}")
        if step % 3 == 2:
            reports.send(f"?{id}")
            library.remove(id)
            reports.send(f"-{id}")
        if publishes and step % 2:
            version = _copy_version(source, served.parent / f"built {name} {step}")
            publish_copy(version, served)
        elif publishes and step % 6 == 4:
            with suppress(OptionError):
                roll_back(served)


def _copy_version(source: Path, folder: Path) -> Path:
    """Copy an index version under a new name, as a new build would have."""
    folder.mkdir()
    version = find_version_folder(source)
    manifest = Manifest.read(version)
    for name in manifest.files:
        (folder / name).symlink_to((version / name).resolve())
    renewed = replace(manifest, software=f"{manifest.software} {folder.name}")
    (folder / MANIFEST_NAME).write_text(renewed.to_json(), encoding="utf-8")
    return folder


def _kill(begun: list[tuple[ForkServerProcess, Connection]], chance: random.Random, counts: Counts) -> None:
    try:
        for _, here in begun:
            assert here.recv() == "begun"
        time.sleep(chance.uniform(0.0, MAX_DELAY_S))
    finally:
        for process, _ in begun:
            process.kill()
    for process, here in begun:
        process.join()
        counts.killed += process.exitcode == -signal.SIGKILL
        counts.ended_by_themselves += process.exitcode != -signal.SIGKILL
        with suppress(EOFError, OSError):
            while True:
                _record(here.recv(), counts)


def _record(message: str, counts: Counts) -> None:
    kind, id = message[0], message[1:]
    counts.there.discard(id)
    if kind != "?":
        (counts.there if kind == "+" else counts.gone).add(id)


def _check(served: Path, crystals: list[Crystal], encoder: Encoder, counts: Counts) -> None:
    counts.rounds += 1
    counts.unsound += not verify_index(served).is_sound
    library = LiveIndex.open(served, encoder, watch_s=None)
    with library.hold() as held:
        found = {id: _entry(held, id) for id in counts.there | counts.gone}
    library.close()
    for id in counts.there:
        entry, crystal = found[id], crystals[int(id.split()[-1]) % len(crystals)]
        if entry is None or not is_identical(entry.crystal, crystal):
            counts.lost.add(id)
    counts.came_back |= {id for id in counts.gone if found[id] is not None}


def _entry(retriever: Retriever, id: str) -> Entry | None:
    try:
        return retriever.get_entry(id)
    except KeyError:
        return None


def _parse_options() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how often both processes are killed")
    parser.add_argument("--seed", type=int, default=20260131)
    return parser.parse_args()


if __name__ == "__main__":
    main()
