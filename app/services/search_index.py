"""Open an index with its model and check that it works; the interface that the service needs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
from math import isfinite
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from app.errors import NotReadyError
from app.presentation.schemas.service import Provenance
from app.settings import Settings
from index.chemistry.composition import Composition
from index.chemistry.elements import ElementFilter
from index.live.new_user_structure import AddOutcome, NewUserStructure
from index.search.query import COVERAGE, Effort
from index.search.results import SearchResult
from index.storage.canary import CANARY_VOLTAGE_KV, make_canary_spots
from index.storage.catalog import Entry
from index.storage.manifest import Manifest
from model.errors import ReadOnlyError
from model.pattern.spots import Spots

if TYPE_CHECKING:
    from index.live.live_index import LiveIndex
    from index.live.snapshot import ServedVersion


class SearchIndex(Protocol):
    """An open index with its model, such as `LiveIndex`; the tests use another implementation."""

    @property
    def manifest(self) -> Manifest:
        """What the index contains and how it was built."""
        ...

    @property
    def user_structure_count(self) -> int:
        """Number of user structures searched in addition to the crystals of the manifest."""
        ...

    def get_entry(self, id: str) -> Entry:
        """Return the crystal with this id.

        Raises:
            KeyError: there is none.
        """
        ...

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """Return one vector for each pattern, shape (N, D)."""
        ...

    def search(
        self,
        spots: Spots,
        *,
        voltage_kv: float,
        elements: ElementFilter | None,
        top_k: int,
        effort: Effort,
        coverage: float,
        composition: Composition | None,
        vector: NDArray[np.float32] | None = None,
        lattice: NDArray[np.float64] | None = None,
    ) -> SearchResult:
        """Return the candidates for a pattern, best first; `vector` is its embedding, if already computed."""
        ...

    def check_canary(self) -> None:
        """Compare the answer to the canary pattern with the one of the build; IndexDamagedError if they differ."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


@runtime_checkable
class EditableIndex(Protocol):
    """The additional methods of an index that can change while it is served, such as `LiveIndex`.

    It declares no properties, because `isinstance` would evaluate them.
    """

    def hold(self) -> AbstractContextManager[SearchIndex]:
        """Return the current state of the index, which does not change within the context."""
        ...

    @property
    def is_stale(self) -> bool:
        """Whether user structures were added or removed that cannot be read."""
        ...

    def add(self, submission: NewUserStructure) -> AddOutcome:
        """Add a user structure."""
        ...

    def remove(self, id: str) -> None:
        """Remove a user structure.

        Raises:
            KeyError: there is none with this id.
        """
        ...

    def reload(self, version: str | None = None) -> "ServedVersion":
        """Serve the current version of the index, or make another version the current one."""
        ...


def require_editable(index: SearchIndex) -> EditableIndex:
    """Return the index; ReadOnlyError if it cannot change."""
    if not isinstance(index, EditableIndex):
        raise ReadOnlyError("This service was started with an index that cannot be changed.")
    return index


def hold_state(index: SearchIndex) -> AbstractContextManager[SearchIndex]:
    """Return the current state of an index, so that all parts of an answer agree."""
    return index.hold() if isinstance(index, EditableIndex) else nullcontext(index)


def is_stale(index: SearchIndex) -> bool:
    """Return whether an index has changes that cannot be read; an index that cannot change has none."""
    return isinstance(index, EditableIndex) and index.is_stale


@cache
def get_software_version() -> str:
    """Return the version of the installed distribution."""
    return version("dd2d-server")


def open_index(settings: Settings) -> "LiveIndex":
    """Load the towers, and open the index that was built with them, including its user structures.

    Raises:
        CheckpointError: the towers cannot be used.
        IndexUnavailableError: the index cannot be used, or other weights made it.
    """
    from index.live.live_index import LiveIndex
    from model.towers.checkpoint import load_towers
    from model.towers.workers import limit_threads

    limit_threads(settings.torch_threads)
    return LiveIndex.open(settings.index, load_towers(settings.model), settings.user_structures)


def describe_provenance(index: SearchIndex) -> Provenance:
    """Return the provenance that is part of every answer."""
    manifest, user_structures = index.manifest, index.user_structure_count
    return Provenance(
        version=get_software_version(),
        model=manifest.model.digest,
        index=manifest.digest,
        crystals=manifest.crystals + user_structures,
        user_structures=user_structures,
    )


def check_canary(index: SearchIndex, effort: Effort = "search") -> None:
    """Search for a graphene pattern, to check model, vectors and catalog; with `verify` also verification.

    Raises:
        NotReadyError: there is no candidate, or one without a similarity.
        IndexDamagedError: the candidates are not those that the build of the index found.
    """
    index.check_canary()
    candidates = index.search(
        make_canary_spots(),
        voltage_kv=CANARY_VOLTAGE_KV,
        elements=None,
        top_k=1,
        coverage=COVERAGE,
        composition=None,
        effort=effort,
    ).candidates
    if not candidates or not isfinite(candidates[0].similarity):
        raise NotReadyError(
            "The model or the index failed the test search with a graphene pattern; see the service's log."
        )
