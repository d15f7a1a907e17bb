"""Looking at an index that is there: `info` without weights, `verify` in full."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.chemistry.elements import ElementBits
from index.encoder import Encoder
from index.storage.catalog import Catalog, Entry
from index.storage.layout import CATALOG_NAME, ELEMENTS_NAME, VECTORS_NAME
from index.storage.manifest import Manifest
from index.storage.publish import locate_user_structures, version_folder
from index.storage.user_structures import UserStructures
from index.storage.vectors import Vectors
from model.errors import IndexUnavailableError

SAMPLE = 64
# Another machine's matrix product rounds otherwise; other weights give cosines far below.
MINIMUM_COSINE = 0.999


@dataclass(frozen=True)
class IndexCheck:
    """What `verify_index` found.

    Attributes:
        directory: the version that was looked at.
        crystals: entries compared with manifest and element table.
        embedded_again: crystals whose vectors were made anew and compared; 0 without an encoder.
        problems: sentences; none when the index is sound.
    """

    directory: Path
    crystals: int
    embedded_again: int
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """No problem was found."""
        return not self.problems


def index_info(directory: Path) -> Manifest:
    """The manifest of the version in use.

    Raises:
        IndexUnavailableError: no index there, or its manifest is damaged.
    """
    return Manifest.read(version_folder(directory))


def verify_index(directory: Path, encoder: Encoder | None = None) -> IndexCheck:
    """Read all of an index, check it against its manifest and itself, and embed a sample again.

    The structures that were added to it, if they lie beside it, are checked too.

    Args:
        directory: the index, or one version of it.
        encoder: the weights that made it; None leaves the vectors' values unchecked.

    Raises:
        IndexUnavailableError: no index there, its manifest is damaged, or it was made by other weights.
    """
    folder = version_folder(directory)
    manifest = Manifest.read(folder)
    if encoder is not None:
        manifest.check_encoder(encoder)
    damaged = (*manifest.problems(folder), *_added_problems(directory))
    if damaged:
        return IndexCheck(folder, 0, 0, damaged)
    catalog = Catalog.open(folder / CATALOG_NAME)
    try:
        return _verified(folder, manifest, catalog, encoder)
    finally:
        catalog.close()


def _verified(folder: Path, manifest: Manifest, catalog: Catalog, encoder: Encoder | None) -> IndexCheck:
    problems = list(_catalog_problems(manifest, catalog))
    try:
        vectors = Vectors.open(folder / VECTORS_NAME)
        bits = ElementBits.open(folder / ELEMENTS_NAME, manifest.crystals)
    except IndexUnavailableError as error:
        return IndexCheck(folder, len(catalog), 0, (*problems, str(error)))
    problems += _vector_problems(manifest, vectors)
    if problems:
        return IndexCheck(folder, len(catalog), 0, tuple(problems))
    entries = list(catalog)
    if not np.array_equal(ElementBits.of(entry.crystal.numbers for entry in entries).bits, bits.bits):
        problems.append("the element table does not agree with the catalog")
    sample = _sample(len(entries)) if encoder is not None else []
    if encoder is not None:
        problems += _embedding_problems([entries[row] for row in sample], sample, vectors, encoder)
    return IndexCheck(folder, len(catalog), len(sample), tuple(problems))


def _added_problems(directory: Path) -> Iterator[str]:
    additions = UserStructures(locate_user_structures(directory))
    damage = additions.damage()
    additions.close()
    if damage:
        yield f"the added structures are damaged: {damage}"


def _catalog_problems(manifest: Manifest, catalog: Catalog) -> Iterator[str]:
    damage = catalog.damage()
    if damage:
        yield f"the catalog is damaged: {damage}"
    if len(catalog) != manifest.crystals:
        yield f"the catalog has {len(catalog)} crystals, the manifest {manifest.crystals}"
    groups = len(np.unique(catalog.groups))
    if groups != manifest.groups:
        yield f"the catalog has {groups} different crystals, the manifest {manifest.groups}"


def _vector_problems(manifest: Manifest, vectors: Vectors) -> Iterator[str]:
    if len(vectors) != manifest.crystals:
        yield f"there are {len(vectors)} vectors, the manifest has {manifest.crystals} crystals"
    if vectors.dimension != manifest.model.dimension:
        yield f"vectors have {vectors.dimension} numbers, the manifest says {manifest.model.dimension}"
    norms = np.linalg.norm(vectors.rows(np.arange(len(vectors))), axis=1)
    off = int((np.abs(norms - 1.0) > 1e-3).sum())
    if off:
        yield f"{off} vectors are not of unit length"


def _sample(count: int) -> list[int]:
    """Rows spread evenly over the index, so over its sources."""
    rows = np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64)
    return sorted(set(rows.tolist()))


def _embedding_problems(
    entries: list[Entry], rows: list[int], vectors: Vectors, encoder: Encoder
) -> Iterator[str]:
    again = encoder.embed_crystals([entry.crystal for entry in entries])
    cosines = (again * vectors.rows(np.array(rows))).sum(axis=1)
    for entry, cosine in zip(entries, cosines.tolist(), strict=True):
        if not cosine >= MINIMUM_COSINE:
            yield f"the vector of {entry.id} is not what the model makes of it now (cosine {cosine:.4f})"
