"""The keys of a running service, which follow their file."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from app.auth.api_keys import Key, recognised
from app.auth.key_file import KeyFile, exposure, read_key_file
from model.errors import OptionError

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
"""Longest time for which a revoked key still works; the file is asked for its date no more often than that."""

_Stamp = tuple[int, int, int] | None


class Keyring:
    """The keys of a file, read again when it changes.

    A running service keeps to the lines that can be read, and to none if the file has gone: whatever was taken out
    is out, even if something else was broken on the way.

    Args:
        path: the key file.
        clock: seconds.

    Raises:
        OptionError: the file is missing, unreadable or damaged.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._stamp = self._stamp_now()
        self._keys = read_key_file(path).sound()
        self._warn_of_exposure()

    def find(self, secret: str) -> Key | None:
        """The key with this secret, expired or not."""
        self._follow()
        return recognised(self._keys, secret)

    def __len__(self) -> int:
        return len(self._keys)

    def _follow(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK_AGAIN_S:
            return
        self._looked = now
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            self._read_again()

    def _read_again(self) -> None:
        try:
            found = read_key_file(self._path)
        except OptionError as error:
            found = KeyFile(problems=(str(error),))
        self._keys = found.keys
        for told in found.problems:
            logger.error("%s", told)
        logger.info("the key file has changed: %d keys", len(self._keys))
        self._warn_of_exposure()

    def _stamp_now(self) -> _Stamp:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _warn_of_exposure(self) -> None:
        try:
            told = exposure(self._path)
        except OSError:
            return
        if told:
            logger.warning("%s", told)
