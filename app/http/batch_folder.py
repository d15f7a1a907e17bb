"""The folder of a batch's files, locked while its service runs: the next one removes what a killed one left."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_PREFIX = "dd2d-batch-"


@contextmanager
def make_batch_folder() -> Iterator[Path]:
    """Yield a new temporary folder, which is deleted when the block ends.

    Raises:
        OSError: the disk is full, or there is no folder for temporary files.
    """
    folder, descriptor = _make_locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_abandoned_folders() -> int:
    """Delete the folders of services that no longer run, and return how many there were.

    Every service on the machine holds a lock on its folders, which ends with its process.
    """
    folders = [each for each in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*") if _is_own(each)]
    count = sum(_remove_if_abandoned(folder) for folder in folders)
    if count:
        logger.info("Removed the files of %d batches that a killed service had left.", count)
    return count


def _make_locked_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):  # a service that has just started took it for an abandoned one
            descriptor = _lock(folder, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _lock(folder: Path, operation: int) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_own(folder: Path) -> bool:
    with suppress(OSError):
        return folder.lstat().st_uid == os.geteuid()
    return False


def _remove_if_abandoned(folder: Path) -> bool:
    try:
        descriptor = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # in use, removed meanwhile, or not a folder
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
    return True
