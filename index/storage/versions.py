"""The versions of an index folder: listed, copied in from where they were built, and gone back to."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from index.storage.layout import MANIFEST_NAME, REPORT_NAME
from index.storage.manifest import Manifest
from index.storage.publish import (
    history,
    make_current,
    publish,
    staging,
    version_folder,
    version_name,
    version_names,
)
from model.errors import IndexUnavailableError, OptionError


@dataclass(frozen=True)
class Version:
    """One version of an index.

    Attributes:
        name: of its folder.
        manifest: what it holds and who made it.
        is_current: whether it is the one in use.
    """

    name: str
    manifest: Manifest
    is_current: bool


def versions(directory: Path) -> list[Version]:
    """The versions of an index folder: the one in use, those that were before, the last first, then all others.

    Raises:
        IndexUnavailableError: no index there, or one of them has a damaged manifest.
    """
    current = version_folder(directory).name
    names = dict.fromkeys([*history(directory), *version_names(directory)])
    return [Version(name, Manifest.read(directory / name), name == current) for name in names]


def publish_copy(built: Path, served: Path) -> Version:
    """Copy the version in use of one index into the folder of another, and let it be the one in use there.

    It becomes so when it lies there whole, read back and compared with its digests. A version that is there already
    is not copied again.

    Args:
        built: an index, or one version of it; it stays as it is.
        served: the other index folder; made if it is not there.

    Raises:
        IndexUnavailableError: `built` holds no sound index; `served` holds other files, or a build is writing to it.
    """
    source = version_folder(built)
    manifest = Manifest.read(source)
    name = version_name(manifest.created, manifest.digest)
    if served.is_dir() and _holds(served / name, manifest):
        make_current(served, name)
        return Version(name, manifest, True)
    with staging(served) as folder:
        for file in (*manifest.files, MANIFEST_NAME, REPORT_NAME):
            if (source / file).is_file():
                shutil.copyfile(source / file, folder / file)
        check_version(folder, manifest, source)
        return Version(publish(folder, name).name, manifest, True)


def roll_back(directory: Path, name: str | None = None) -> Version:
    """Let an earlier version be the one in use again.

    Args:
        directory: an index folder.
        name: of the version; the one that was in use before this one if None.

    Raises:
        OptionError: there is no such version, or none before.
        IndexUnavailableError: no index there, or the version is damaged.
    """
    folder = named_version(directory, name)
    manifest = Manifest.read(folder)
    check_version(folder, manifest, folder)
    make_current(directory, folder.name, goes_back=True)
    return Version(folder.name, manifest, True)


def named_version(directory: Path, name: str | None) -> Path:
    """The folder of a version.

    Args:
        directory: an index folder.
        name: of the version; None for the one that was in use before this one.

    Raises:
        OptionError: there is no such version, or none before.
        IndexUnavailableError: no index there.
    """
    version_folder(directory)
    there = version_names(directory)
    if name is None:
        before = history(directory)[1:]
        if not before:
            told = ", ".join(there)
            raise OptionError(f"no version was in use before this one in {directory}; name one of {told}")
        name = before[0]
    if name not in there:
        raise OptionError(f"there is no version {name[:60]!r}; there are {', '.join(there) or 'none'}")
    return directory / name


def check_version(folder: Path, manifest: Manifest, told: Path) -> None:
    """Refuse a version whose files are not those that were written.

    Args:
        folder: of the version.
        manifest: of the version.
        told: the folder to name in the message.

    Raises:
        IndexUnavailableError: a file is missing or damaged.
    """
    problems = manifest.list_problems(folder)
    if problems:
        raise IndexUnavailableError(f"the index in {told} is damaged: {'; '.join(problems)}; build it again")


def _holds(folder: Path, manifest: Manifest) -> bool:
    """Whether this very version lies there, undamaged."""
    try:
        return Manifest.read(folder).digest == manifest.digest and not manifest.list_problems(folder)
    except IndexUnavailableError:
        return False
