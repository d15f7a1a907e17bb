"""How an index comes to its place: whole or not at all.

An index folder holds a folder for each version and a file `CURRENT` that names one of them (`layout.py`).

A version is written under another name, flushed to the disk, renamed, and then `CURRENT` is replaced by a
rename, which is atomic. A build killed at any moment leaves what was there before or the new version. DIR
itself is never renamed, so it may be a mount point.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from index.storage.layout import (
    BUILDING_PREFIX,
    CURRENT_LOCK_NAME,
    CURRENT_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    NEXT_CURRENT_NAME,
    USER_STRUCTURES_NAME,
)
from model.errors import IndexUnavailableError

# A fault in a new index may be found out weeks later; one of 18,000 crystals takes 20 MB.
KEPT_VERSIONS = 5
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(\.\d+)?")


def version_folder(directory: Path) -> Path:
    """The folder of the version in use.

    Args:
        directory: an index, or one version of it.

    Raises:
        IndexUnavailableError: no index there.
    """
    if (directory / MANIFEST_NAME).is_file():
        return directory
    try:
        name, *_ = (directory / CURRENT_NAME).read_text(encoding="ascii").split("\n")
    except OSError:
        raise IndexUnavailableError(
            f"{directory} holds no index: build one with `dd2d index build`"
        ) from None
    except UnicodeDecodeError:
        name = ""
    if not _VERSION.fullmatch(name):
        raise IndexUnavailableError(f"{directory / CURRENT_NAME} is damaged; build the index again")
    return directory / name


def history(directory: Path) -> list[str]:
    """Names of the version in use and of those that were before, the last first, as far as they are there."""
    path = directory / CURRENT_NAME
    names = path.read_text(encoding="ascii", errors="replace").split("\n") if path.is_file() else []
    return [name for name in names if _is_version(directory / name)]


def version_names(directory: Path) -> list[str]:
    """Names of all versions in an index folder, the newest first."""
    return sorted((path.name for path in directory.iterdir() if _is_version(path)), reverse=True)


def _is_version(path: Path) -> bool:
    return bool(_VERSION.fullmatch(path.name)) and (path / MANIFEST_NAME).is_file()


def version_name(created: str, digest: str) -> str:
    """What a version is called.

    Args:
        created: as its manifest states it.
        digest: of its manifest, "sha256:...".
    """
    return f"{datetime.fromisoformat(created):%Y%m%dT%H%M%SZ}-{digest.removeprefix('sha256:')[:8]}"


def locate_user_structures(directory: Path) -> Path:
    """Where the structures added to an index lie if nobody says otherwise.

    Args:
        directory: an index, or one version of it, which may be removed when newer ones come: they never lie in that.
    """
    is_inside = (directory / MANIFEST_NAME).is_file() and (directory.parent / CURRENT_NAME).is_file()
    return (directory.parent if is_inside else directory) / USER_STRUCTURES_NAME


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """An empty folder to write a version into, beside its final place; nobody else builds there meanwhile.

    Args:
        directory: the index; made if it is not there.

    Raises:
        IndexUnavailableError: the folder holds something else, or another build is under way.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise IndexUnavailableError(f"{directory} is a file; give a new or empty folder") from None
    _refuse_foreign(directory)
    with _locked(directory):
        _remove_leftovers(directory)
        folder = Path(tempfile.mkdtemp(prefix=BUILDING_PREFIX, dir=directory))
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
    # Under one lock: between the two, who goes back to an older version would take this one for a past one to remove.
    with _current_locked(directory):
        target = _free_name(directory / name)
        folder.rename(target)
        _flush(directory)
        _make_current(directory, target.name, goes_back=False)
    return target


def make_current(directory: Path, name: str, *, goes_back: bool = False) -> None:
    """Let a version that is there be the one in use; a build that is under way is not waited for.

    What is older than the last `KEPT_VERSIONS` is removed.

    Args:
        directory: the index.
        name: of the version, which the caller has checked.
        goes_back: whether those that came after it are to be forgotten as its past, if it was in use before.

    Raises:
        IndexUnavailableError: the version has been removed since it was checked.
    """
    with _current_locked(directory):
        if not _is_version(directory / name):
            raise IndexUnavailableError(
                f"the version {name} has just been removed from {directory}; publish it again"
            )
        _make_current(directory, name, goes_back=goes_back)


@contextmanager
def _current_locked(directory: Path) -> Iterator[None]:
    with (directory / CURRENT_LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_current(directory: Path, name: str, *, goes_back: bool) -> None:
    before = history(directory)
    past = before[before.index(name) + 1 :] if goes_back and name in before else before
    told = list(dict.fromkeys([name, *past]))
    kept = list(dict.fromkeys([*told, *version_names(directory)]))[:KEPT_VERSIONS]
    pointer = directory / NEXT_CURRENT_NAME
    pointer.write_text("".join(f"{each}\n" for each in told if each in kept), encoding="ascii")
    _flush(pointer)
    pointer.replace(directory / CURRENT_NAME)
    _flush(directory)
    _remove_versions(directory, kept)


def _free_name(target: Path) -> Path:
    candidates = (target if n == 0 else target.with_name(f"{target.name}.{n}") for n in range(1000))
    return next(path for path in candidates if not path.exists())


def _refuse_foreign(directory: Path) -> None:
    """A mistyped --out must not mix an index into somebody's folder."""
    if (directory / MANIFEST_NAME).exists():
        raise IndexUnavailableError(f"{directory} is one version of an index; give the folder above it")
    foreign = [path.name for path in directory.iterdir() if not _ours(path.name)]
    if foreign and not (directory / CURRENT_NAME).exists():
        raise IndexUnavailableError(
            f"{directory} holds other files ({foreign[0]}, ...); give a new or empty folder"
        )


def _ours(name: str) -> bool:
    known = name in {CURRENT_NAME, LOCK_NAME, CURRENT_LOCK_NAME, NEXT_CURRENT_NAME, "lost+found"}
    return known or name.startswith((BUILDING_PREFIX, USER_STRUCTURES_NAME)) or bool(_VERSION.fullmatch(name))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system when the process dies
        except OSError:
            raise IndexUnavailableError(
                f"another build is writing to {directory}; wait until it ends"
            ) from None
        yield


def _remove_leftovers(directory: Path) -> None:
    """What killed builds left half written. Whole versions never made current go at the next publishing."""
    for path in directory.glob(f"{BUILDING_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove_versions(directory: Path, kept: Collection[str]) -> None:
    """All others; whoever has one open goes on reading it."""
    for path in directory.iterdir():
        if _VERSION.fullmatch(path.name) and path.name not in kept:
            # Under a name of leftovers first, so that one of which a part is gone is never taken for a version.
            leftover = path.with_name(f"{BUILDING_PREFIX}removed-{path.name}")
            shutil.rmtree(leftover, ignore_errors=True)
            path.rename(leftover)
            shutil.rmtree(leftover, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
