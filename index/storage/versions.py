"""The versions of an index folder, and which of them is current."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from index.storage.layout import CURRENT_NAME, MANIFEST_NAME, USER_STRUCTURES_NAME
from index.storage.manifest import Manifest
from model.digests import Steps, finish
from model.errors import IndexDamagedError, IndexUnavailableError, OptionError

_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(\.\d+)?")


@dataclass(frozen=True)
class Version:
    """One version of an index.

    Attributes:
        folder: contains its files.
        manifest: what it contains and what made it.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a version.

        Raises:
            IndexUnavailableError: missing or damaged.
        """
        return cls(folder, Manifest.read(folder))

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    def check_files(self) -> None:
        """Check all files against their digests.

        Raises:
            IndexDamagedError: a file is missing or damaged; the message names it.
        """
        finish(self.check_files_slowly())

    def check_files_slowly(self) -> Steps[None]:
        """Check all files against their digests, a piece of a file at a time.

        Raises:
            IndexDamagedError: as `check_files`.
        """
        problems = yield from self.manifest.find_problems(self.folder)
        manifest = self.folder / MANIFEST_NAME
        if not manifest.is_file() or manifest.read_bytes() != self.manifest.to_json().encode():
            problems.append(f"{MANIFEST_NAME} is not the file that was read.")
        if problems:
            raise IndexDamagedError(
                f"The index version {self.name} is damaged. {' '.join(problems)} Run `dd2d index verify`, then build "
                "or publish the index again.",
                self.folder,
            )


def find_version_folder(directory: Path) -> Path:
    """Return the folder of the current version.

    Args:
        directory: an index, or one version of it.

    Raises:
        IndexUnavailableError: there is no index.
    """
    if (directory / MANIFEST_NAME).is_file():
        return directory
    try:
        name, *_ = (directory / CURRENT_NAME).read_text(encoding="ascii").split("\n")
    except OSError:
        raise IndexUnavailableError(
            f"{directory} contains no index; build one with `dd2d index build`."
        ) from None
    except UnicodeDecodeError:
        name = ""
    if not is_version_name(name):
        raise IndexDamagedError(
            f"{CURRENT_NAME} is damaged; build the index again.", directory / CURRENT_NAME
        )
    return directory / name


def find_current_version(directory: Path) -> Version:
    """Return the current version of an index, or the given one; IndexUnavailableError if it is missing or damaged."""
    return Version.read(find_version_folder(directory))


def find_version(directory: Path, name: str | None) -> Version:
    """Return a version by its name.

    Args:
        directory: an index folder.
        name: of the version; None for the one that was current before the current one.

    Raises:
        OptionError: there is no such version, or none was current before.
        IndexUnavailableError: there is no index, or the version's manifest is damaged.
    """
    find_version_folder(directory)
    names = list_version_names(directory)
    if name is None:
        earlier = read_history(directory)[1:]
        if not earlier:
            raise OptionError(
                f"No version was current before this one in {directory}; name one of {', '.join(names)}."
            )
        name = earlier[0]
    if name not in names:
        raise OptionError(f"There is no version {name[:60]!r}; available: {', '.join(names) or 'none'}.")
    return Version.read(directory / name)


def list_versions(directory: Path) -> list[Version]:
    """Return the versions of an index folder: the current one, then earlier ones, latest first, then all others.

    Raises:
        IndexUnavailableError: there is no index, or one of the manifests is damaged.
    """
    find_version_folder(directory)
    names = dict.fromkeys([*read_history(directory), *list_version_names(directory)])
    return [Version.read(directory / name) for name in names]


def read_history(directory: Path) -> list[str]:
    """Return the names of the current version and of those that were current before, latest first, that still exist."""
    path = directory / CURRENT_NAME
    names = path.read_text(encoding="ascii", errors="replace").split("\n") if path.is_file() else []
    return [name for name in names if is_version_folder(directory / name)]


def list_version_names(directory: Path) -> list[str]:
    """Return the names of all versions in an index folder, newest first."""
    return sorted((path.name for path in directory.iterdir() if is_version_folder(path)), reverse=True)


def is_version_folder(path: Path) -> bool:
    """Return whether a folder has the name and the manifest of a version."""
    return is_version_name(path.name) and (path / MANIFEST_NAME).is_file()


def is_version_name(name: str) -> bool:
    """Return whether a folder of this name may be a version."""
    return _NAME.fullmatch(name) is not None


def make_version_name(manifest: Manifest) -> str:
    """Return the name of a version, from the time and the digest of its manifest."""
    created = datetime.fromisoformat(manifest.created)
    return f"{created:%Y%m%dT%H%M%SZ}-{manifest.digest.removeprefix('sha256:')[:8]}"


def locate_user_structures(directory: Path) -> Path:
    """Return the default path of the user structures: not in a version of an index, which newer ones may displace."""
    is_inside = (directory / MANIFEST_NAME).is_file() and (directory.parent / CURRENT_NAME).is_file()
    return (directory.parent if is_inside else directory) / USER_STRUCTURES_NAME
