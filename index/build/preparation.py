"""From records to catalog entries: canonical form and symmetry, in several processes.

Worker processes import this module and what it needs, so neither torch nor faiss may come in here.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import chain, islice

from index.sources.record import Record, RejectedEntry, crystal_of
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.crystal.symmetry import Symmetry, symmetry_of
from model.errors import CrystalError, OptionError

CHUNK = 256
# Below this, starting processes takes longer than the work.
_WORTH_PROCESSES = 1024
# Tried in turn: a layer that spglib cannot settle at one tolerance it usually settles at another.
_SYMPREC_ANGSTROM = (0.05, 0.02, 0.1)

Prepared = Entry | RejectedEntry
Chunk = list[Record | RejectedEntry]


def prepare(
    records: Iterable[Record | RejectedEntry], workers: int | None = None
) -> Iterator[list[Prepared]]:
    """Chunks of entries and rejections, in the order of the records.

    Args:
        records: what the sources yield.
        workers: processes; as many as this process may use CPUs if None, none of their own if 0.

    Raises:
        OptionError: a negative number of workers.
    """
    if workers is not None and workers < 0:
        raise OptionError(f"{workers} workers: give 0 (no processes of their own) or more")
    stream = iter(records)
    first = list(islice(stream, _WORTH_PROCESSES))
    workers = _processors() if workers is None else workers
    chunks = _chunks(chain(first, stream))
    if workers and len(first) == _WORTH_PROCESSES:
        yield from _in_processes(chunks, workers)
    else:
        yield from map(prepare_chunk, chunks)


def prepare_chunk(records: Chunk) -> list[Prepared]:
    """The entries of one chunk."""
    return [_prepared(record) for record in records]


def _prepared(record: Record | RejectedEntry) -> Prepared:
    if isinstance(record, RejectedEntry):
        return record
    crystal = crystal_of(record)
    if isinstance(crystal, RejectedEntry):
        return crystal
    try:
        return Entry.of(crystal, settled_symmetry(crystal), record.license, record.reference)
    except CrystalError as error:
        return RejectedEntry(crystal.id, str(error))


def settled_symmetry(crystal: Crystal) -> Symmetry:
    """The symmetry at the first tolerance at which there is one.

    Raises:
        CrystalError: there is none at any.
    """
    *attempts, last = _SYMPREC_ANGSTROM
    for symprec in attempts:
        try:
            return symmetry_of(crystal, symprec)
        except CrystalError:
            continue
    return symmetry_of(crystal, last)


def _chunks(records: Iterator[Record | RejectedEntry]) -> Iterator[Chunk]:
    while chunk := list(islice(records, CHUNK)):
        yield chunk


def _processors() -> int:
    """As many as this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fork would copy the locks of the threads that torch and faiss have started.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _in_processes(chunks: Iterator[Chunk], workers: int) -> Iterator[list[Prepared]]:
    """A window of chunks is under way at a time, so that a large source is never wholly in memory."""
    with ExitStack() as pools:
        pool = pools.enter_context(_pool(workers))
        if not _starts(pool):
            yield from map(prepare_chunk, chunks)
            return
        waiting: deque[tuple[Chunk, Future[list[Prepared]]]] = deque()
        for chunk in chunks:
            try:
                waiting.append((chunk, pool.submit(prepare_chunk, chunk)))
            except BrokenProcessPool:  # by a chunk that waits; it is dealt with when its turn comes
                pool = pools.enter_context(_pool(workers))
                waiting.append((chunk, pool.submit(prepare_chunk, chunk)))
            if len(waiting) > 3 * workers:
                yield _outcome(*waiting.popleft())
        while waiting:
            yield _outcome(*waiting.popleft())


def _starts(pool: ProcessPoolExecutor) -> bool:
    """Whether processes can be started at all: not where the main program came from standard input."""
    try:
        return pool.submit(prepare_chunk, []).result() == []
    except BrokenProcessPool:
        return False


def _outcome(chunk: Chunk, future: "Future[list[Prepared]]") -> list[Prepared]:
    try:
        return future.result()
    except BrokenProcessPool:
        return _rescued(chunk)


def _rescued(chunk: Chunk) -> list[Prepared]:
    """A record that crashed its process, as a library in C may, is found by halving, and rejected."""
    with _pool(1) as pool:
        try:
            return pool.submit(prepare_chunk, chunk).result()
        except BrokenProcessPool:
            pass
    if len(chunk) == 1:
        return [RejectedEntry(_name(chunk[0]), "it crashed the process that turned it into a crystal")]
    middle = len(chunk) // 2
    return _rescued(chunk[:middle]) + _rescued(chunk[middle:])


def _name(record: Record | RejectedEntry) -> str:
    return record.name if isinstance(record, RejectedEntry) else record.id
