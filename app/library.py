"""What the service needs of an index, and how it is opened."""

from importlib.metadata import version
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import NotReadyError
from app.schemas import Provenance
from app.settings import Settings
from index.catalogue import Entry
from index.composition import Composition
from index.elements import ElementFilter
from index.hits import SearchResult
from index.manifest import Manifest
from index.query import COVERAGE, Effort
from model.pattern import Spots

# Graphene's two inner rings: lattice constant 2.46 angstrom.
_CANARY_RADII = (0.4694, 0.8130)
_CANARY_TURNS_DEG = (0.0, 30.0)
_CANARY_VOLTAGE_KV = 80.0


class Library(Protocol):
    """An opened index with its model; `index.retrieve.Retriever` is one, the tests have another."""

    @property
    def manifest(self) -> Manifest:
        """What the index holds and who made it."""
        ...

    def entry(self, id: str) -> Entry:
        """The crystal with this id; KeyError if there is none."""
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
        lattice: NDArray[np.float64] | None = None,
    ) -> SearchResult:
        """The crystals most like a pattern, best first."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


def software_version() -> str:
    """Version of the installed distribution."""
    return version("dd2d-server")


def open_library(settings: Settings) -> Library:
    """Load the towers and open the index that they made.

    Raises:
        CheckpointError: no usable towers.
        LibraryError: no usable index, or one that other weights made.
    """
    from index.retrieve import Retriever
    from model.towers import load_towers
    from model.towers.threads import use_threads

    use_threads(settings.torch_threads)
    return Retriever.open(settings.index, load_towers(settings.model))


def provenance_of(library: Library) -> Provenance:
    """What every answer says about its origin."""
    manifest = library.manifest
    return Provenance(
        version=software_version(),
        model=manifest.model.digest,
        index=manifest.digest,
        crystals=manifest.crystals,
    )


def ask_canary(library: Library) -> None:
    """Search graphene's pattern through model, vectors and catalogue.

    Raises:
        NotReadyError: no candidate, or one without a similarity.
    """
    angles = np.radians(np.arange(6) * 60.0)
    rings = [
        radius * np.column_stack([np.cos(angles + turn), np.sin(angles + turn)])
        for radius, turn in zip(_CANARY_RADII, np.radians(_CANARY_TURNS_DEG), strict=True)
    ]
    spots = Spots(np.concatenate(rings), np.repeat([1.0, 0.9], 6))
    hits = library.search(
        spots,
        voltage_kv=_CANARY_VOLTAGE_KV,
        elements=None,
        top_k=1,
        coverage=COVERAGE,
        composition=None,
        effort="search",
    ).hits
    if not hits or not np.isfinite(hits[0].similarity):
        raise NotReadyError("model and index do not answer a pattern of graphene; see the service's log")
