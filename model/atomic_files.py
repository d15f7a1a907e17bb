"""Atomic replacement of files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_file(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new, empty file in the same folder; it replaces `path` when the block ends without an error.

    A reader sees either the old file or the new one, also after a crash or a power failure. Writers of the same file
    must exclude one another.

    Args:
        path: the file to replace, which need not exist.
        mode: permissions of the new file, restricted by the umask.
    """
    temporary = make_temporary_path(path)
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield temporary
        sync_to_disk(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_to_disk(path.parent)


def write_file(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace the content of a file; see `replace_file`."""
    with replace_file(path, mode=mode) as temporary:
        temporary.write_bytes(content)


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
