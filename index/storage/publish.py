"""Write the versions of an index folder, each atomically.

A version is written under a temporary name, flushed to the disk and renamed. Then the file `CURRENT`, which names the
current version, is replaced atomically. A build that is killed at any moment leaves either the old version or the new
one. The index folder itself is never renamed, so it may be a mount point.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from index.storage.layout import (
    BUILDING_PREFIX,
    CURRENT_LOCK_NAME,
    CURRENT_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    REPORT_NAME,
    USER_STRUCTURES_NAME,
)
from index.storage.versions import (
    Version,
    find_current_version,
    find_version,
    is_version_folder,
    is_version_name,
    list_version_names,
    make_version_name,
    read_history,
)
from model.atomic_files import make_temporary_path, sync_to_disk, write_file
from model.errors import IndexDamagedError, IndexUnavailableError

# A fault in a new index may be found weeks later; a version of 18,000 crystals takes 20 MB.
KEPT_VERSIONS = 5


@contextmanager
def stage_version(directory: Path) -> Iterator[Path]:
    """Yield an empty folder for a new version; meanwhile no other build can write to the index.

    Args:
        directory: the index; created if it does not exist.

    Raises:
        IndexUnavailableError: the folder contains other files, or another build writes to it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise IndexUnavailableError(f"{directory} is a file; give a new or empty folder.") from None
    _refuse_other_files(directory)
    with _lock_build(directory):
        _remove_leftovers(directory)
        folder = Path(tempfile.mkdtemp(prefix=BUILDING_PREFIX, dir=directory))
        folder.chmod(0o755)  # mkdtemp's 0700 would exclude a service that runs as another user
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def publish_version(folder: Path, name: str) -> Path:
    """Rename a complete version and make it the current one.

    Args:
        folder: from `stage_version`, within its block.
        name: from `make_version_name`.

    Returns:
        The version's folder.
    """
    directory = folder.parent
    for path in folder.iterdir():
        sync_to_disk(path)
    sync_to_disk(folder)
    # One lock for both steps: between them, a rollback would remove this version as an old one.
    with _lock_current(directory):
        target = _choose_free_name(directory / name)
        folder.rename(target)
        sync_to_disk(directory)
        _write_current(directory, target.name, is_rollback=False)
    return target


def publish_copy(built: Path, served: Path) -> Version:
    """Copy the current version of one index to another index folder and make it the current one there.

    The copy is compared with its digests first. A version that exists there already is not copied again.

    Args:
        built: an index, or one version of it; it is not changed.
        served: the other index folder; created if it does not exist.

    Raises:
        IndexUnavailableError: `built` contains no sound index; `served` contains other files, or a build writes to it.
    """
    source = find_current_version(built)
    name = make_version_name(source.manifest)
    if served.is_dir() and _contains(served / name, source):
        make_current(served, name)
        return Version(served / name, source.manifest)
    with stage_version(served) as folder:
        for file in (*source.manifest.files, MANIFEST_NAME, REPORT_NAME):
            if (source.folder / file).is_file():
                shutil.copyfile(source.folder / file, folder / file)
        problems = source.manifest.list_problems(folder)
        if problems:
            raise IndexDamagedError(
                f"The index in {source.folder} is damaged; build it again. {' '.join(problems)}",
                source.folder,
            )
        return Version(publish_version(folder, name), source.manifest)


def roll_back(directory: Path, name: str | None = None) -> Version:
    """Make an earlier version the current one again.

    Args:
        directory: an index folder.
        name: of the version; None for the one that was current before.

    Raises:
        OptionError: there is no such version, or none was current before.
        IndexUnavailableError: there is no index, or the version is damaged.
    """
    version = find_version(directory, name)
    version.check_files()
    make_current(directory, version.name, is_rollback=True)
    return version


def make_current(directory: Path, name: str, *, is_rollback: bool = False) -> None:
    """Make an existing version the current one, without waiting for a build; old versions are removed.

    Args:
        directory: the index.
        name: of the version, whose files the caller has checked.
        is_rollback: whether the versions that came after it leave the history, if it was current before.

    Raises:
        IndexUnavailableError: the version has been removed since it was checked.
    """
    with _lock_current(directory):
        if not is_version_folder(directory / name):
            raise IndexUnavailableError(
                f"Version {name} has just been removed from {directory}; publish it again."
            )
        _write_current(directory, name, is_rollback=is_rollback)


def _write_current(directory: Path, name: str, *, is_rollback: bool) -> None:
    """Replace `CURRENT` and remove all but the last `KEPT_VERSIONS`."""
    history = read_history(directory)
    earlier = history[history.index(name) + 1 :] if is_rollback and name in history else history
    names = list(dict.fromkeys([name, *earlier]))
    kept = list(dict.fromkeys([*names, *list_version_names(directory)]))[:KEPT_VERSIONS]
    content = "".join(f"{line}\n" for line in names if line in kept)
    write_file(directory / CURRENT_NAME, content.encode("ascii"))
    _remove_versions(directory, kept)


def _contains(folder: Path, version: Version) -> bool:
    """Return whether a folder contains this very version, undamaged."""
    try:
        existing = Version.read(folder)
        return existing.manifest.digest == version.manifest.digest and not existing.manifest.list_problems(
            folder
        )
    except IndexUnavailableError:
        return False


def _choose_free_name(target: Path) -> Path:
    paths = (target if n == 0 else target.with_name(f"{target.name}.{n}") for n in range(1000))
    return next(path for path in paths if not path.exists())


def _refuse_other_files(directory: Path) -> None:
    """Reject a folder that contains something else, as a mistyped --out may."""
    if (directory / MANIFEST_NAME).exists():
        raise IndexUnavailableError(f"{directory} is one version of an index; give the folder above it.")
    others = [path.name for path in directory.iterdir() if not _belongs_to_index(path)]
    if others and not (directory / CURRENT_NAME).exists():
        raise IndexUnavailableError(
            f"{directory} contains other files ({others[0]}, ...); give a new or empty folder."
        )


def _belongs_to_index(path: Path) -> bool:
    temporary = make_temporary_path(path.with_name(CURRENT_NAME)).name
    is_own = path.name in {CURRENT_NAME, LOCK_NAME, CURRENT_LOCK_NAME, temporary, "lost+found"}
    return (
        is_own or path.name.startswith((BUILDING_PREFIX, USER_STRUCTURES_NAME)) or is_version_name(path.name)
    )


@contextmanager
def _lock_build(directory: Path) -> Iterator[None]:
    try:
        lock = FileLock(directory / LOCK_NAME).acquire(blocking=False)
    except Timeout:
        raise IndexUnavailableError(f"Another build is writing to {directory}; wait until it ends.") from None
    with lock:
        yield


def _lock_current(directory: Path) -> FileLock:
    return FileLock(directory / CURRENT_LOCK_NAME, poll_interval=0.01)


def _remove_leftovers(directory: Path) -> None:
    """Remove what killed builds left. Complete versions that never became current go at the next publishing."""
    for path in directory.glob(f"{BUILDING_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove_versions(directory: Path, kept: Collection[str]) -> None:
    """Remove all other versions; a process that has one open goes on reading it."""
    for path in directory.iterdir():
        if is_version_name(path.name) and path.name not in kept:
            # Renamed first, so that a half-removed version is a leftover and not a damaged version.
            leftover = path.with_name(f"{BUILDING_PREFIX}removed-{path.name}")
            shutil.rmtree(leftover, ignore_errors=True)
            path.rename(leftover)
            shutil.rmtree(leftover, ignore_errors=True)
