"""How an index comes to its place: whole or not at all.

An index folder holds a folder for each version and a file `CURRENT` that names one of them:

    DIR/CURRENT                        the name of the version in use
    DIR/20260131T120000Z-1f2e3d4c/     a version: manifest, vectors, catalogue, elements, report
    DIR/.building-.../                 a version being written
    DIR/.lock                          held by the one build that may write

A version is written under another name, flushed to the disk, renamed, and then `CURRENT` is replaced by a
rename, which is atomic. A build killed at any moment leaves what was there before or the new version. DIR
itself is never renamed, so it may be a mount point.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.manifest import MANIFEST_NAME
from model.errors import LibraryError

CURRENT = "CURRENT"
_LOCK = ".lock"
_BUILDING = ".building-"
_NEXT = ".CURRENT.next"
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(\.\d+)?")


def version_folder(directory: Path) -> Path:
    """The folder of the version in use.

    Args:
        directory: an index, or one version of it.

    Raises:
        LibraryError: no index there.
    """
    if (directory / MANIFEST_NAME).is_file():
        return directory
    try:
        name = (directory / CURRENT).read_text(encoding="ascii").strip()
    except OSError:
        raise LibraryError(f"{directory} holds no index: build one with `dd2d index build`") from None
    except UnicodeDecodeError:
        name = ""
    if not _VERSION.fullmatch(name):
        raise LibraryError(f"{directory / CURRENT} is damaged; build the index again")
    return directory / name


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """An empty folder to write a version into, beside its final place; nobody else builds there meanwhile.

    Args:
        directory: the index; made if it is not there.

    Raises:
        LibraryError: the folder holds something else, or another build is under way.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise LibraryError(f"{directory} is a file; give a new or empty folder") from None
    _refuse_foreign(directory)
    with _locked(directory):
        _remove_leftovers(directory)
        folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=directory))
        folder.chmod(0o755)  # mkdtemp's 0700 would keep a service under another user out
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, name: str) -> Path:
    """Put a finished version into its place and make it the one in use.

    Args:
        folder: from `staging`, within its block.
        name: such as "20260131T120000Z-1f2e3d4c".

    Returns:
        Where the version lies now.
    """
    directory = folder.parent
    for path in folder.iterdir():
        _flush(path)
    _flush(folder)
    target = _free_name(directory / name)
    before = _current_name(directory)
    folder.rename(target)
    _flush(directory)
    pointer = directory / _NEXT
    pointer.write_text(target.name + "\n", encoding="ascii")
    _flush(pointer)
    pointer.replace(directory / CURRENT)
    _flush(directory)
    _remove_versions(directory, keep={target.name, before})
    return target


def _free_name(target: Path) -> Path:
    candidates = (target if n == 0 else target.with_name(f"{target.name}.{n}") for n in range(1000))
    return next(path for path in candidates if not path.exists())


def _refuse_foreign(directory: Path) -> None:
    """A mistyped --out must not mix an index into somebody's folder."""
    if (directory / MANIFEST_NAME).exists():
        raise LibraryError(f"{directory} is one version of an index; give the folder above it")
    foreign = [path.name for path in directory.iterdir() if not _ours(path.name)]
    if foreign and not (directory / CURRENT).exists():
        raise LibraryError(f"{directory} holds other files ({foreign[0]}, ...); give a new or empty folder")


def _ours(name: str) -> bool:
    known = name in {CURRENT, _LOCK, _NEXT, "lost+found"}
    return known or name.startswith(_BUILDING) or bool(_VERSION.fullmatch(name))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system when the process dies
        except OSError:
            raise LibraryError(f"another build is writing to {directory}; wait until it ends") from None
        yield


def _current_name(directory: Path) -> str:
    path = directory / CURRENT
    return path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""


def _remove_leftovers(directory: Path) -> None:
    """What killed builds left half written. Whole versions never made current go at the next publishing."""
    for path in directory.glob(f"{_BUILDING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove_versions(directory: Path, keep: set[str]) -> None:
    """Older versions; the one before stays, for those who have yet to open it or want it back."""
    for path in directory.iterdir():
        if _VERSION.fullmatch(path.name) and path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
