"""Atomic replacement of files."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import StorageFullError


@contextmanager
def replace_file(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new, empty file in the same folder; it replaces `path` when the block ends without an error.

    A reader sees either the old file or the new one, also after a crash or a power failure. Writers of the same file
    must exclude one another.

    Args:
        path: the file to replace, which need not exist.
        mode: permissions of the new file, restricted by the umask.

    Raises:
        StorageFullError: the disk is full; the file is as before.
    """
    temporary = make_temporary_path(path)
    temporary.unlink(missing_ok=True)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        sync_to_disk(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if is_disk_full(error):
            raise StorageFullError(
                "The disk is full, so nothing was changed; free space and retry."
            ) from error
        raise
    sync_to_disk(path.parent)


def write_file(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace the content of a file; see `replace_file`."""
    with replace_file(path, mode=mode) as temporary:
        temporary.write_bytes(content)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error of the operating system says that the disk is full or a quota used up."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def make_temporary_path(path: Path) -> Path:
    """Return the temporary path of a file until it is complete; a killed process may leave a file there."""
    return path.with_name(f".{path.name}.partial")


def sync_to_disk(path: Path) -> None:
    """Flush a file or, so that new names in it survive a power failure, a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
