"""The manifest of an index: what it contains, how it was built, and the digests of its files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from errno import EIO
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from index.encoder import Encoder
from index.storage.layout import MANIFEST_NAME
from model.digests import Steps, digest_files, finish
from model.errors import IndexDamagedError, IndexUnavailableError
from model.matching.priors import CELL_SIGMA

FORMAT_VERSION = 3


@dataclass(frozen=True)
class ModelIdentity:
    """The weights with which the vectors were computed.

    Attributes:
        digest: of the weights, "sha256:...".
        form: of the structure tower, such as "physics".
        dimension: length of a vector.
    """

    digest: str
    form: str
    dimension: int

    @classmethod
    def from_encoder(cls, encoder: Encoder) -> Self:
        """Return the identity of a loaded encoder."""
        return cls(encoder.digest, encoder.form, encoder.dimension)


@dataclass(frozen=True)
class FileDigest:
    """SHA-256 of a file's content in hexadecimal, and its length."""

    sha256: str
    bytes: int

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the digest of a file on the disk."""
        return cls(finish(digest_files([path])), path.stat().st_size)


@dataclass(frozen=True)
class CanaryCandidate:
    """A crystal that the canary pattern found when the index was built, and its similarity."""

    id: str
    similarity: float


@dataclass(frozen=True)
class Manifest:
    """What is known about an index without opening it.

    Attributes:
        created: UTC, ISO 8601.
        software: version of this software that built it.
        model: the weights that made the vectors.
        files: digest of each file, by its name in the folder.
        crystals: rows of the index.
        groups: different crystals among them.
        rejected: entries that could not be used.
        sources: crystals by source.
        cell_sigma: rms error of the logarithm of the cell lengths, for the sources where it was given.
        canary: the crystals nearest to the canary pattern, see `index.storage.canary`.
        format_version: number of the layout; other numbers are refused.
    """

    created: str
    software: str
    model: ModelIdentity
    files: Mapping[str, FileDigest]
    crystals: int
    groups: int
    rejected: int
    sources: Mapping[str, int] = field(default_factory=dict)
    cell_sigma: Mapping[str, float] = field(default_factory=dict)
    canary: tuple[CanaryCandidate, ...] = ()
    format_version: int = FORMAT_VERSION

    @cached_property
    def digest(self) -> str:
        """Digest that identifies this build, "sha256:..."; builds of the same data differ in `created`."""
        return "sha256:" + hashlib.sha256(_to_json(asdict(self)).encode()).hexdigest()

    def get_cell_sigma(self, source: str) -> float:
        """Return the rms error of the logarithm of a source's cell lengths; by default that of computed cells."""
        return self.cell_sigma.get(source, CELL_SIGMA)

    @cached_property
    def largest_cell_sigma(self) -> float:
        """Largest error of the cell lengths of any source."""
        return max(map(self.get_cell_sigma, self.sources), default=CELL_SIGMA)

    def to_json(self) -> str:
        """Return the content of the manifest file, which includes its own digest."""
        return _to_json({"digest": self.digest, **asdict(self)})

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the manifest of one version.

        Raises:
            IndexUnavailableError: missing, damaged, or of a layout that this software does not read.
        """
        path = directory / MANIFEST_NAME
        try:
            text = path.read_bytes().decode()
            content = json.loads(text)
        except FileNotFoundError:
            raise IndexUnavailableError(
                f"{directory} contains no index; build one with `dd2d index build`."
            ) from None
        except (OSError, ValueError) as error:
            raise _make_damage_error(path) from error
        version = content.get("format_version") if isinstance(content, dict) else None
        if version != FORMAT_VERSION:
            raise IndexUnavailableError(
                f"The index in {directory} has layout {version}, but this software reads layout {FORMAT_VERSION}; "
                "build the index again."
            )
        try:
            manifest = cls._from_content(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise _make_damage_error(path) from error
        if manifest.to_json() != text:  # which also compares the digest
            raise _make_damage_error(path)
        return manifest

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Self:
        del content["digest"]
        model = ModelIdentity(**content.pop("model"))
        files = {name: FileDigest(**digest) for name, digest in content.pop("files").items()}
        canary = tuple(CanaryCandidate(**candidate) for candidate in content.pop("canary"))
        return cls(model=model, files=files, canary=canary, **content)

    def check_encoder(self, encoder: Encoder) -> None:
        """Reject an encoder that did not compute the vectors of this index.

        Raises:
            IndexUnavailableError: other weights; the message names both.
        """
        loaded = ModelIdentity.from_encoder(encoder)
        if loaded != self.model:
            raise IndexUnavailableError(
                f"The index was built with the weights {_describe(self.model)}, but {_describe(loaded)} are loaded; "
                "load the weights of the index (restore their files if these are damaged), or build the index again "
                "with `dd2d index build`."
            )

    def list_problems(self, directory: Path) -> list[str]:
        """Return a sentence for each file that is missing or changed; this reads all files."""
        return finish(self.find_problems(directory))

    def find_problems(self, directory: Path) -> Steps[list[str]]:
        """Return the same as `list_problems`, a piece of a file at a time."""
        problems = []
        for name, expected in self.files.items():
            path = directory / name
            try:
                found = FileDigest((yield from digest_files([path])), path.stat().st_size)
            except FileNotFoundError:
                problems.append(f"{name} is missing.")
                continue
            except OSError as error:
                if error.errno != EIO:
                    raise
                problems.append(f"{name} cannot be read from the disk.")
                continue
            if found != expected:
                problems.append(
                    f"{name} is not the file that was written; its digest differs from the manifest's."
                )
        return problems


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _make_damage_error(path: Path) -> IndexDamagedError:
    return IndexDamagedError(
        f"{path.name} of the index version {path.parent.name} is damaged; build the index again.", path
    )


def _describe(model: ModelIdentity) -> str:
    return f"{model.digest} ({model.form}, {model.dimension} dimensions)"
