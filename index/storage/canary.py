"""The canary: a pattern that every index is searched with, to compare the answer with the one of its build."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.encoder import Encoder
from index.storage.catalog import Entry
from index.storage.components import Components
from index.storage.manifest import CanaryCandidate, Manifest
from model.errors import IndexDamagedError
from model.pattern.spots import Spots

CANARY_VOLTAGE_KV = 80.0
MAX_DEVIATION = 0.002
"""Largest deviation of a similarity; `python -m bench.canary` measures that of processors and precisions."""
MAX_CANDIDATES = 5

# The two inner rings of graphene, whose lattice constant is 2.46 angstrom.
_RADII_INV_ANGSTROM = (0.4694, 0.8130)
_ROTATIONS_DEG = (0.0, 30.0)


def make_canary_spots() -> Spots:
    """Return the pattern of graphene that every index is asked for."""
    angles = np.radians(np.arange(6) * 60.0)
    rings = [
        radius * np.column_stack([np.cos(angles + rotation), np.sin(angles + rotation)])
        for radius, rotation in zip(_RADII_INV_ANGSTROM, np.radians(_ROTATIONS_DEG), strict=True)
    ]
    return Spots(np.concatenate(rings), np.repeat([1.0, 0.9], 6))


def find_canary_candidates(
    entries: Sequence[Entry], vectors: NDArray[np.float32], encoder: Encoder
) -> tuple[CanaryCandidate, ...]:
    """Return the crystals of a new index that are nearest to the canary.

    Args:
        entries: N crystals.
        vectors: (N, D) of them.
        encoder: that made the vectors.
    """
    similarity = vectors @ _embed_canary(encoder)
    nearest = np.argsort(-similarity, kind="stable")[:MAX_CANDIDATES].tolist()
    return tuple(CanaryCandidate(entries[row].id, round(float(similarity[row]), 6)) for row in nearest)


def check_canary_candidates(manifest: Manifest, components: Components, encoder: Encoder) -> None:
    """Search an index for the canary, and compare the answer with that of its build; user structures are ignored.

    Raises:
        IndexDamagedError: the answers differ, or the vector of the canary is not a unit vector.
    """
    vector = _embed_canary(encoder)
    stored = np.array([candidate.similarity for candidate in manifest.canary])
    own = components.bits.pack_rows(np.arange(manifest.crystals))
    found, _ = components.vectors.search(vector, len(stored), own)
    try:
        rows = np.array(
            [components.base.find_row(candidate.id) for candidate in manifest.canary], dtype=np.int64
        )
    except KeyError as error:
        raise _make_error() from error
    now = components.vectors.compare(vector[None], rows)[0]
    # Of two nearly equal similarities another processor may put another first, so the order is not compared.
    if (
        len(found) != len(stored)
        or not np.abs([found - stored, now - stored]).max(initial=0.0) <= MAX_DEVIATION
    ):
        raise _make_error()


def _embed_canary(encoder: Encoder) -> NDArray[np.float32]:
    (vector,) = encoder.embed_spots([make_canary_spots()], [CANARY_VOLTAGE_KV])
    return np.asarray(vector, dtype=np.float32)


def _make_error() -> IndexDamagedError:
    return IndexDamagedError(
        "The search for the canary pattern does not find what the build of the index found; run `dd2d index verify`, "
        "then build the index again."
    )
