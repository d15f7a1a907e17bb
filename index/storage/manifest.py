"""The manifest of an index: what it holds, who made it, and the digests that prove it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from index.encoder import Encoder
from index.storage.layout import MANIFEST_NAME
from model.errors import IndexUnavailableError
from model.matching.priors import CELL_SIGMA

FORMAT_VERSION = 2


@dataclass(frozen=True)
class ModelIdentity:
    """The weights that made the vectors: digest, form of the structure tower, length of a vector."""

    digest: str
    form: str
    dimension: int

    @classmethod
    def of(cls, encoder: Encoder) -> Self:
        """The identity of an encoder that is loaded."""
        return cls(encoder.digest, encoder.form, encoder.dimension)


@dataclass(frozen=True)
class FileDigest:
    """A file of the index: SHA-256 of its content in hexadecimal, and its length."""

    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Of a file as it lies on the disk."""
        with path.open("rb") as stream:
            return cls(hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size)


@dataclass(frozen=True)
class Manifest:
    """All that can be said about an index without opening it.

    Attributes:
        created: UTC, ISO 8601.
        software: version of this software that built it.
        model: the weights that made the vectors.
        files: name within the index to digest.
        crystals: rows of the index.
        groups: different crystals among them.
        rejected: entries that could not be used.
        sources: crystals by source.
        cell_sigma: by source, rms error of the logarithm of the lengths of its cells, where that was given.
        format_version: of the layout; another one is refused.
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
    format_version: int = FORMAT_VERSION

    @cached_property
    def digest(self) -> str:
        """Names this very index, "sha256:..."; two builds of the same data differ in `created`."""
        return "sha256:" + hashlib.sha256(self.to_json().encode()).hexdigest()

    def cell_sigma_of(self, source: str) -> float:
        """rms error of the logarithm of the lengths of a source's cells; that of computed ones where none was given."""
        return self.cell_sigma.get(source, CELL_SIGMA)

    @cached_property
    def largest_cell_sigma(self) -> float:
        """Of its sources."""
        return max(map(self.cell_sigma_of, self.sources), default=CELL_SIGMA)

    def to_json(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The manifest in a folder that holds one index.

        Raises:
            IndexUnavailableError: none there, damaged, or of a layout this software does not know.
        """
        try:
            content = json.loads((directory / MANIFEST_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise IndexUnavailableError(
                f"{directory} holds no index: build one with `dd2d index build`"
            ) from None
        except (OSError, ValueError) as error:
            raise IndexUnavailableError(
                f"the manifest in {directory} is damaged; build the index again"
            ) from error
        version = content.get("format_version") if isinstance(content, dict) else None
        if version != FORMAT_VERSION:
            raise IndexUnavailableError(
                f"the index in {directory} has layout {version}, this software reads {FORMAT_VERSION}; "
                "build the index again"
            )
        return cls._parsed(content, directory)

    @classmethod
    def _parsed(cls, content: dict[str, Any], directory: Path) -> Self:
        try:
            model = ModelIdentity(**content.pop("model"))
            files = {name: FileDigest(**digest) for name, digest in content.pop("files").items()}
            return cls(model=model, files=files, **content)
        except (KeyError, TypeError, AttributeError) as error:
            raise IndexUnavailableError(
                f"the manifest in {directory} is damaged; build the index again"
            ) from error

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuse an encoder whose vectors do not belong with this index.

        Raises:
            IndexUnavailableError: other weights; the message names both.
        """
        loaded = ModelIdentity.of(encoder)
        if loaded != self.model:
            raise IndexUnavailableError(
                f"the index was made by the weights {_described(self.model)}, and {_described(loaded)} are "
                "loaded: load those weights, or build the index again with `dd2d index build`"
            )

    def list_problems(self, directory: Path) -> list[str]:
        """A sentence for each file that is missing or is not the one that was written; reads all of them."""
        return list(self._problems(directory))

    def _problems(self, directory: Path) -> Iterator[str]:
        for name, expected in self.files.items():
            path = directory / name
            if not path.is_file():
                yield f"{name} is missing"
            elif FileDigest.of(path) != expected:
                yield f"{name} is not the file that was written: its digest differs from the manifest's"

    def check_sizes(self, directory: Path) -> None:
        """Refuse an index with a file missing or cut short; `verify` reads them in full.

        Raises:
            IndexUnavailableError: naming the file.
        """
        for name, expected in self.files.items():
            path = directory / name
            length = path.stat().st_size if path.is_file() else None
            if length != expected.bytes:
                state = "is missing" if length is None else f"has {length} bytes, not {expected.bytes}"
                raise IndexUnavailableError(
                    f"the index in {directory} is damaged: {name} {state}; build it again"
                )


def _described(model: ModelIdentity) -> str:
    return f"{model.digest} ({model.form}, {model.dimension} dimensions)"
