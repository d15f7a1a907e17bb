"""The file of the API keys: JSON lines, written whole or not at all, for the service's own eyes."""

import fcntl
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import ValidationError

from app.auth.api_keys import Key
from model.errors import OptionError

MOST_BYTES = 4 * 2**20
_FOR_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH | stat.S_IWGRP


@dataclass(frozen=True)
class KeyFile:
    """What a key file holds.

    Attributes:
        keys: of the lines that could be read.
        problems: of the others, a sentence each.
    """

    keys: tuple[Key, ...] = ()
    problems: tuple[str, ...] = ()

    def sound(self) -> tuple[Key, ...]:
        """The keys of a file without a damaged line.

        Raises:
            OptionError: there is one.
        """
        if self.problems:
            raise OptionError("; ".join(self.problems[:3]))
        return self.keys


def read_key_file(path: Path) -> KeyFile:
    """The keys of a file, and what is wrong with it.

    Raises:
        OptionError: it cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        told = (
            f"the key file {path} does not exist; make a key: dd2d key create NAME --role admin --keys {path}"
        )
        raise OptionError(told) from None
    except OSError as error:
        raise OptionError(f"the key file {path} cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise OptionError(f"the key file {path} has more than {MOST_BYTES} bytes; it is no key file")
    return _parsed(content, path)


def _parsed(content: bytes, path: Path) -> KeyFile:
    keys: list[Key] = []
    problems: list[str] = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            keys.append(Key.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = "".join(f"{part}: " for part in first["loc"])
            told = f"the key file {path} is damaged, line {number}: {where}{first['msg']}"
            problems.append(f"{told}; mend or remove that line")
    names = Counter(key.name for key in keys)
    twice = [name for name, count in names.items() if count > 1]
    problems += [f"the key file {path} names {name!r} more than once; remove one" for name in twice]
    return KeyFile(tuple(keys), tuple(problems))


def exposure(path: Path) -> str | None:
    """What is wrong with a key file's permissions, if anything is."""
    mode = path.stat().st_mode
    if mode & _FOR_OTHERS:
        return f"the key file {path} is open to others (mode {mode & 0o777:03o}): chmod 600 {path}"
    return None


def change_key_file(path: Path, change: Callable[[tuple[Key, ...]], tuple[Key, ...]]) -> None:
    """Replace the keys of a file, which need not be there yet, by what `change` makes of them.

    A reader sees the old file or the new one, and two changes at once are made one after the other.

    Raises:
        OptionError: the file is damaged.
        OSError: its folder cannot be written.
    """
    with _alone_in(path.parent) as folder:
        keys = read_key_file(path).sound() if path.exists() else ()
        lines = "".join(key.model_dump_json(exclude_none=True) + "\n" for key in change(keys))
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(lines)  # NamedTemporaryFile's mode is 0600
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        os.fsync(folder)  # or a key that was revoked is back after a power cut


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """The folder's descriptor, with a lock on it, which leaves no file behind and goes with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
