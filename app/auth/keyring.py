"""The keys of a running service, reloaded when their file changes."""

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from app.auth.api_keys import ApiKey, find_key
from app.auth.key_file import KeyFile, describe_exposure, parse_key_file, read_content
from model.errors import OptionError

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0
"""Minimum time between two checks of the file, and thus how long a revoked key can still work."""


class Keyring:
    """The keys of a file, reloaded when it changes.

    A running service keeps the keys on undamaged lines, and none if the file is gone. A revoked key therefore never
    stays valid because another line was damaged.

    Args:
        path: the key file.
        clock: monotonic time in seconds.

    Raises:
        OptionError: the file is missing, unreadable or damaged.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._last_check = clock()
        self._content: bytes | str = read_content(path)
        self._keys = parse_key_file(self._content, path).require_intact()
        self._warn_if_exposed()

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, expired or not, or None."""
        self._reload_if_changed()
        return find_key(self._keys, secret)

    def __len__(self) -> int:
        return len(self._keys)

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now - self._last_check < CHECK_INTERVAL_S:
            return
        self._last_check = now
        # Its content is compared, not its times: two changes within one tick of the clock have the same time.
        content = self._read_content()
        if content != self._content:
            self._content = content
            self._reload(content)

    def _read_content(self) -> bytes | str:
        """Return the content of the file, or why it cannot be read."""
        try:
            return read_content(self._path)
        except OptionError as error:
            return str(error)

    def _reload(self, content: bytes | str) -> None:
        file = (
            KeyFile(problems=(content,)) if isinstance(content, str) else parse_key_file(content, self._path)
        )
        self._keys = file.keys
        for problem in file.problems:
            logger.error("%s", problem)
        logger.info("The key file was reloaded: %d keys.", len(self._keys))
        self._warn_if_exposed()

    def _warn_if_exposed(self) -> None:
        try:
            warning = describe_exposure(self._path)
        except OSError:
            return
        if warning:
            logger.warning("%s", warning)
