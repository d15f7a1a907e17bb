"""The scrub: a thread that reads an index that is served over and over, slowly, to find bits that have changed.

A pass over a small index takes seconds and begins every minute. A large one is read faster, so that damage is found
within five minutes.
"""

import logging
from collections.abc import Callable, Iterator
from threading import Event, Thread

from index.live.live_index import LiveIndex
from model.errors import CheckpointError, DomainError, IndexDamagedError, IndexUnavailableError

logger = logging.getLogger(__name__)

MIN_BYTES_PER_S = 16e6
PASS_S = 180.0
"""Longest pass, but for the time that the processor takes."""
MAX_FIRST_PASS_BYTES = 16 * 10**9
"""Size of an index up to which the first pass, which does not know the size, is no longer than the others."""
PAUSE_S = 50.0
"""Time between two passes."""

OnDamage = Callable[[DomainError], None]


class Scrub:
    """Checks an index until it is closed or damaged.

    The thread has no lower priority: the little work that it does holds Python's lock, for which all others would wait.

    Args:
        index: the index.
        on_damage: called, in the thread, with what is damaged.
    """

    def __init__(self, index: LiveIndex, on_damage: OnDamage) -> None:
        self._index = index
        self._on_damage = on_damage
        self._closed = Event()
        self._pass_bytes = MAX_FIRST_PASS_BYTES
        self._thread = Thread(target=self._run, name="dd2d-scrub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, in the middle of a pass if need be."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._read_slowly(self._index.check_integrity())
            except (CheckpointError, IndexDamagedError) as error:
                logger.critical("%s", error.log_text)
                self._on_damage(error)
                return
            except (IndexUnavailableError, OSError) as error:
                logger.warning("The index cannot be checked at the moment; it will be tried again. %s", error)
            except Exception:
                logger.exception("The check of the index failed; it will be tried again.")
            self._closed.wait(PAUSE_S)

    def _read_slowly(self, pieces: Iterator[int]) -> None:
        """Take the pieces of one pass at a rate that suits the size of the last one."""
        bytes_per_s = max(MIN_BYTES_PER_S, self._pass_bytes / PASS_S)
        read = 0
        for count in pieces:
            read += count
            if self._closed.wait(count / bytes_per_s):
                return
        self._pass_bytes = read
