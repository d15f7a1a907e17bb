"""What the service needs of an index, and how it is opened."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
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
from index.storage.catalog import Entry
from index.storage.manifest import Manifest
from model.errors import ReadOnlyError
from model.pattern.spots import Spots

if TYPE_CHECKING:
    from index.live.snapshot import ServedVersion

# Graphene's two inner rings: lattice constant 2.46 angstrom.
_CANARY_RADII = (0.4694, 0.8130)
_CANARY_TURNS_DEG = (0.0, 30.0)
_CANARY_VOLTAGE_KV = 80.0


class Library(Protocol):
    """An opened index with its model; `index.live.live_index.LiveIndex` is one, the tests have another."""

    @property
    def manifest(self) -> Manifest:
        """What the index holds and who made it."""
        ...

    @property
    def user_structure_count(self) -> int:
        """How many user structures are searched beside the crystals of the manifest."""
        ...

    def get_entry(self, id: str) -> Entry:
        """The crystal with this id; KeyError if there is none."""
        ...

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """(N, D) a vector a pattern."""
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
        """The crystals most like a pattern, best first; `vector` is what `embed` made of it, if it did."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


@runtime_checkable
class ChangingLibrary(Library, Protocol):
    """A library that can be added to; `index.live.live_index.LiveIndex` is one."""

    def hold(self) -> AbstractContextManager[Library]:
        """The library as it is now, for a request that wants all that it asks to agree."""
        ...

    def add(self, submission: NewUserStructure) -> AddOutcome:
        """Add a structure."""
        ...

    def remove(self, id: str) -> None:
        """Remove a structure that was added; KeyError if there is none."""
        ...

    def reload(self, version: str | None = None) -> "ServedVersion":
        """Serve the version in use, or make another one that."""
        ...


def changing(library: Library) -> ChangingLibrary:
    """The library, if it can be added to.

    Raises:
        ReadOnlyError: it cannot.
    """
    if not isinstance(library, ChangingLibrary):
        raise ReadOnlyError("this service was started with a library that does not change")
    return library


def held(library: Library) -> AbstractContextManager[Library]:
    """The library as it is now, where it may change."""
    return library.hold() if isinstance(library, ChangingLibrary) else nullcontext(library)


@cache
def software_version() -> str:
    """Version of the installed distribution."""
    return version("dd2d-server")


def open_library(settings: Settings) -> Library:
    """Load the towers and open the index that they made, with what was added to it.

    Raises:
        CheckpointError: no usable towers.
        IndexUnavailableError: no usable index, or one that other weights made.
    """
    from index.live.live_index import LiveIndex
    from model.towers.checkpoint import load_towers
    from model.towers.threads import use_threads

    use_threads(settings.torch_threads)
    return LiveIndex.open(settings.index, load_towers(settings.model), settings.user_structures)


def provenance_of(library: Library) -> Provenance:
    """What every answer says about its origin."""
    manifest = library.manifest
    return Provenance(
        version=software_version(),
        model=manifest.model.digest,
        index=manifest.digest,
        crystals=manifest.crystals + library.user_structure_count,
        user_structures=library.user_structure_count,
    )


def ask_canary(library: Library, effort: Effort = "search") -> None:
    """Search graphene's pattern through model, vectors and catalog.

    Args:
        library: that is asked.
        effort: `verify` also asks what holds candidates against the pattern.

    Raises:
        NotReadyError: no candidate, or one without a similarity.
    """
    angles = np.radians(np.arange(6) * 60.0)
    rings = [
        radius * np.column_stack([np.cos(angles + turn), np.sin(angles + turn)])
        for radius, turn in zip(_CANARY_RADII, np.radians(_CANARY_TURNS_DEG), strict=True)
    ]
    spots = Spots(np.concatenate(rings), np.repeat([1.0, 0.9], 6))
    candidates = library.search(
        spots,
        voltage_kv=_CANARY_VOLTAGE_KV,
        elements=None,
        top_k=1,
        coverage=COVERAGE,
        composition=None,
        effort=effort,
    ).candidates
    if not candidates or not np.isfinite(candidates[0].similarity):
        raise NotReadyError("model and index do not answer a pattern of graphene; see the service's log")
