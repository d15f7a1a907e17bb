"""From records to catalog entries: canonical form and symmetry, in several processes.

Worker processes import this module and what it needs, so neither torch nor faiss may be imported here.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import chain, islice

from index.sources.record import Record, RejectedEntry, make_crystal
from index.storage.catalog import Entry
from model.crystal.crystal import Crystal
from model.crystal.symmetry import Symmetry, determine_symmetry
from model.errors import CrystalError, OptionError

CHUNK = 256
# With fewer records, starting processes takes longer than the work.
_MIN_RECORDS_FOR_PROCESSES = 1024
# A layer whose symmetry spglib cannot find at one tolerance usually has one at another; tried in this order.
_SYMPREC_ANGSTROM = (0.05, 0.02, 0.1)

Prepared = Entry | RejectedEntry
Chunk = list[Record | RejectedEntry]


def prepare_entries(
    records: Iterable[Record | RejectedEntry], workers: int | None = None
) -> Iterator[list[Prepared]]:
    """Yield chunks of entries and rejected entries, in the order of the records.

    Args:
        records: from the sources.
        workers: number of processes; one for each available CPU if None, none besides this one if 0.

    Raises:
        OptionError: the number of workers is negative.
    """
    if workers is not None and workers < 0:
        raise OptionError(f"The number of workers is {workers}; it must be 0 or more.")
    stream = iter(records)
    first = list(islice(stream, _MIN_RECORDS_FOR_PROCESSES))
    workers = _count_processors() if workers is None else workers
    chunks = _split_into_chunks(chain(first, stream))
    if workers and len(first) == _MIN_RECORDS_FOR_PROCESSES:
        yield from _prepare_in_processes(chunks, workers)
    else:
        yield from map(prepare_chunk, chunks)


def prepare_chunk(records: Chunk) -> list[Prepared]:
    """Return the entries of one chunk."""
    return [_prepare_entry(record) for record in records]


def _prepare_entry(record: Record | RejectedEntry) -> Prepared:
    if isinstance(record, RejectedEntry):
        return record
    crystal = make_crystal(record)
    if isinstance(crystal, RejectedEntry):
        return crystal
    try:
        return Entry.from_crystal(crystal, find_symmetry(crystal), record.license, record.reference)
    except CrystalError as error:
        return RejectedEntry(crystal.id, str(error))


def find_symmetry(crystal: Crystal) -> Symmetry:
    """Return the symmetry at the first tolerance at which spglib finds one.

    Raises:
        CrystalError: it finds none at any tolerance.
    """
    *attempts, last = _SYMPREC_ANGSTROM
    for symprec in attempts:
        try:
            return determine_symmetry(crystal, symprec)
        except CrystalError:
            continue
    return determine_symmetry(crystal, last)


def _split_into_chunks(records: Iterator[Record | RejectedEntry]) -> Iterator[Chunk]:
    while chunk := list(islice(records, CHUNK)):
        yield chunk


def _count_processors() -> int:
    """Return the number of CPUs this process may use, where the system reports it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_pool(workers: int) -> ProcessPoolExecutor:
    # A fork would copy the locks of threads that torch and faiss have started.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _prepare_in_processes(chunks: Iterator[Chunk], workers: int) -> Iterator[list[Prepared]]:
    """Prepare chunks in worker processes, a few at a time, so that a large source is never all in memory."""
    with ExitStack() as pools:
        pool = pools.enter_context(_make_pool(workers))
        if not _can_start(pool):
            yield from map(prepare_chunk, chunks)
            return
        waiting: deque[tuple[Chunk, Future[list[Prepared]]]] = deque()
        for chunk in chunks:
            try:
                waiting.append((chunk, pool.submit(prepare_chunk, chunk)))
            except BrokenProcessPool:  # a chunk that is waiting broke it; `_wait_for` handles that chunk
                pool = pools.enter_context(_make_pool(workers))
                waiting.append((chunk, pool.submit(prepare_chunk, chunk)))
            if len(waiting) > 3 * workers:
                yield _wait_for(*waiting.popleft())
        while waiting:
            yield _wait_for(*waiting.popleft())


def _can_start(pool: ProcessPoolExecutor) -> bool:
    """Return whether processes can start at all; they cannot where the main program came from standard input."""
    try:
        return pool.submit(prepare_chunk, []).result() == []
    except BrokenProcessPool:
        return False


def _wait_for(chunk: Chunk, future: "Future[list[Prepared]]") -> list[Prepared]:
    try:
        return future.result()
    except BrokenProcessPool:
        return _reject_crashing_record(chunk)


def _reject_crashing_record(chunk: Chunk) -> list[Prepared]:
    """Prepare a chunk in which a record crashes its process, as a C library may; halving the chunk finds it."""
    with _make_pool(1) as pool:
        try:
            return pool.submit(prepare_chunk, chunk).result()
        except BrokenProcessPool:
            pass
    if len(chunk) == 1:
        return [RejectedEntry(_get_name(chunk[0]), "The structure crashed the process that analyzed it.")]
    middle = len(chunk) // 2
    return _reject_crashing_record(chunk[:middle]) + _reject_crashing_record(chunk[middle:])


def _get_name(record: Record | RejectedEntry) -> str:
    return record.name if isinstance(record, RejectedEntry) else record.id
