"""A full check of an existing index."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.chemistry.elements import ElementBits
from index.encoder import Encoder
from index.storage.canary import check_canary_candidates
from index.storage.catalog import Catalog, Entry
from index.storage.components import Components
from index.storage.layout import CATALOG_NAME, ELEMENTS_NAME, VECTORS_NAME
from index.storage.manifest import Manifest
from index.storage.user_structures import UserStructures
from index.storage.vectors import Vectors
from index.storage.versions import find_current_version, locate_user_structures
from model.errors import IndexDamagedError, IndexUnavailableError

SAMPLE_SIZE = 64
# Another machine's matrix product rounds differently; other weights give cosines far below.
MIN_COSINE = 0.999


@dataclass(frozen=True)
class IndexCheck:
    """The outcome of `verify_index`.

    Attributes:
        directory: the version that was checked.
        crystals: entries compared with manifest and element table.
        embedded_again: crystals that were embedded again and compared with their vectors; 0 without an encoder.
        problems: a sentence each; none if the index is sound.
    """

    directory: Path
    crystals: int
    embedded_again: int
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether the check found no problems."""
        return not self.problems


def verify_index(directory: Path, encoder: Encoder | None = None) -> IndexCheck:
    """Check an index and the user structures beside it in full, and embed a sample of its crystals and the canary.

    Args:
        directory: the index, or one version of it.
        encoder: the weights that made it; without them the values of the vectors are not checked.

    Raises:
        IndexUnavailableError: there is no index, its manifest is damaged, or other weights made it.
    """
    version = find_current_version(directory)
    folder, manifest = version.folder, version.manifest
    if encoder is not None:
        manifest.check_encoder(encoder)
    damaged = (*manifest.list_problems(folder), *_check_user_structures(directory))
    if damaged:
        return IndexCheck(folder, 0, 0, damaged)
    catalog = Catalog.open(folder / CATALOG_NAME)
    try:
        return _check_content(folder, manifest, catalog, encoder)
    finally:
        catalog.close()


def _check_content(folder: Path, manifest: Manifest, catalog: Catalog, encoder: Encoder | None) -> IndexCheck:
    problems = list(_check_catalog(manifest, catalog))
    try:
        vectors = Vectors.open(folder / VECTORS_NAME)
        bits = ElementBits.open(folder / ELEMENTS_NAME, manifest.crystals)
    except IndexUnavailableError as error:
        return IndexCheck(folder, len(catalog), 0, (*problems, str(error)))
    problems += _check_vectors(manifest, vectors)
    if problems:
        return IndexCheck(folder, len(catalog), 0, tuple(problems))
    entries = list(catalog)
    if not np.array_equal(
        ElementBits.from_numbers(entry.crystal.numbers for entry in entries).bits, bits.bits
    ):
        problems.append("The element table does not match the catalog.")
    sample = _choose_sample(len(entries)) if encoder is not None else []
    if encoder is not None:
        problems += _check_embedding([entries[row] for row in sample], sample, vectors, encoder)
        problems += _check_canary(folder, manifest, encoder)
    return IndexCheck(folder, len(catalog), len(sample), tuple(problems))


def _check_user_structures(directory: Path) -> Iterator[str]:
    user_structures = UserStructures(locate_user_structures(directory))
    damage = user_structures.find_damage()
    user_structures.close()
    if damage:
        yield damage


def _check_catalog(manifest: Manifest, catalog: Catalog) -> Iterator[str]:
    damage = catalog.find_damage()
    if damage:
        yield f"The catalog is damaged: {damage}."
    if len(catalog) != manifest.crystals:
        yield f"The catalog has {len(catalog)} crystals, but the manifest states {manifest.crystals}."
    groups = len(np.unique(catalog.groups))
    if groups != manifest.groups:
        yield f"The catalog has {groups} distinct crystals, but the manifest states {manifest.groups}."


def _check_vectors(manifest: Manifest, vectors: Vectors) -> Iterator[str]:
    if len(vectors) != manifest.crystals:
        yield f"There are {len(vectors)} vectors, but the manifest states {manifest.crystals} crystals."
    if vectors.dimension != manifest.model.dimension:
        yield f"Vectors have {vectors.dimension} numbers, but the manifest states {manifest.model.dimension}."


def _check_canary(folder: Path, manifest: Manifest, encoder: Encoder) -> Iterator[str]:
    """Yield a problem if a search for the canary pattern does not find what the build found."""
    components = Components.open(folder, manifest)
    try:
        check_canary_candidates(manifest, components, encoder)
    except IndexDamagedError as error:
        yield str(error)
    finally:
        components.base.close()


def _choose_sample(count: int) -> list[int]:
    """Return rows spread evenly over the index, and so over its sources."""
    rows = np.linspace(0, count - 1, min(SAMPLE_SIZE, count)).astype(np.int64)
    return sorted(set(rows.tolist()))


def _check_embedding(
    entries: list[Entry], rows: list[int], vectors: Vectors, encoder: Encoder
) -> Iterator[str]:
    """Yield a problem for each entry whose vector is not the one that the encoder makes now."""
    embedded = encoder.embed_crystals([entry.crystal for entry in entries])
    cosines = (embedded * vectors.read_rows(np.array(rows))).sum(axis=1)
    for entry, cosine in zip(entries, cosines.tolist(), strict=True):
        if not cosine >= MIN_COSINE:
            yield (
                f"The stored vector of {entry.id} differs from the one that the model computes (cosine {cosine:.4f})."
            )
