"""The key file: API keys as JSON lines, replaced atomically, readable only by its owner."""

import os
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from app.auth.api_keys import ApiKey
from model.atomic_files import write_file
from model.errors import OptionError

MAX_BYTES = 4 * 2**20
_EXPOSED = stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH | stat.S_IWGRP


@dataclass(frozen=True)
class KeyFile:
    """The content of a key file.

    Attributes:
        keys: those on the lines that could be parsed.
        problems: one sentence for each other line.
    """

    keys: tuple[ApiKey, ...] = ()
    problems: tuple[str, ...] = ()

    def require_intact(self) -> tuple[ApiKey, ...]:
        """Return the keys; OptionError if a line is damaged."""
        if self.problems:
            raise OptionError(" ".join(self.problems[:3]))
        return self.keys


def read_key_file(path: Path) -> KeyFile:
    """Read a key file and collect its damaged lines.

    Raises:
        OptionError: the file cannot be read at all.
    """
    return parse_key_file(read_content(path), path)


def read_content(path: Path) -> bytes:
    """Return the content of a key file, at most `MAX_BYTES`.

    Raises:
        OptionError: the file cannot be read, or is a pipe, a device or a folder.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits until another process writes to it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _make_kind_error(path)
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise OptionError(
            f"The key file {path} does not exist; create a key with "
            f"`dd2d key create NAME --role admin --keys {path}`."
        ) from None
    except IsADirectoryError:
        raise _make_kind_error(path) from None
    except OSError as error:
        raise OptionError(f"The key file {path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise OptionError(f"{path} has more than {MAX_BYTES} bytes and is not a key file.")
    return content


def _make_kind_error(path: Path) -> OptionError:
    return OptionError(f"The key file {path} is not a regular file; copy the keys to a file and name that.")


def parse_key_file(content: bytes, path: Path) -> KeyFile:
    """Parse the content of a key file and collect its damaged lines; `path` is for the messages."""
    keys: list[ApiKey] = []
    problems: list[str] = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            keys.append(ApiKey.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = "".join(f"{part}: " for part in first["loc"])
            problems.append(
                f"The key file {path} is damaged at line {number}: {field}{first['msg']}. Repair or remove that line."
            )
    names = Counter(key.name for key in keys)
    duplicates = [name for name, count in names.items() if count > 1]
    problems += [f"The key file {path} names {name!r} more than once; remove one." for name in duplicates]
    return KeyFile(tuple(keys), tuple(problems))


def describe_exposure(path: Path) -> str | None:
    """Return a warning if other users can read or change a key file, otherwise None."""
    mode = path.stat().st_mode
    if mode & _EXPOSED:
        return f"The key file {path} is accessible to other users (mode {mode & 0o777:03o}); run `chmod 600 {path}`."
    return None


def update_key_file(path: Path, update: Callable[[tuple[ApiKey, ...]], tuple[ApiKey, ...]]) -> None:
    """Replace the keys of a file with `update(keys)`; a missing file counts as empty.

    A reader sees either the old or the new file. Concurrent updates run one after the other.

    Raises:
        OptionError: the file is damaged, or its folder does not exist.
        OSError: its folder is not writable.
    """
    if not path.parent.is_dir():  # FileLock would create it
        raise OptionError(f"The folder {path.parent} does not exist; create it first.")
    with FileLock(path.parent / f".{path.name}.lock", mode=0o600, poll_interval=0.01):
        keys = read_key_file(path).require_intact() if path.exists() else ()
        lines = "".join(key.model_dump_json(exclude_none=True) + "\n" for key in update(keys))
        # Synced to disk, so that a power failure cannot restore a revoked key.
        write_file(path, lines.encode(), mode=0o600)
