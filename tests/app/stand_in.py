"""A deterministic stand-in for model and index: the crystal with the nearest first ring is the best candidate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import Composition
from index.chemistry.elements import ElementFilter, get_atomic_numbers
from index.search.query import Effort
from index.search.results import Candidate, SearchResult
from index.storage.catalog import Entry
from index.storage.manifest import Manifest, ModelIdentity
from model.crystal.crystal import Crystal
from model.crystal.symmetry import determine_symmetry
from model.matching.confidence import Verdict
from model.matching.match import Match
from model.matching.next_measurement import NextMeasurement
from model.pattern.spots import Spots

MODEL = "sha256:" + "cd" * 32
AWKWARD_IDS = ("bilayers/MoS2 50%/AB", "ends/cif", "a%2Fb", "cif", "ünïcode ?#&+", "..", "x" * 300)

_HEXAGONAL = {
    "WS2": 3.18,
    "MoSe2": 3.32,
    "WSe2": 3.33,
    "MoTe2": 3.55,
    "NbS2": 3.34,
    "TaS2": 3.36,
    "VS2": 3.17,
}


def make_crystal(formula: str, a: float, id: str) -> Crystal:
    """Return graphene, or a 1H dichalcogenide MX2."""
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(0.75), 0], [0, 0, 25]])
    if formula == "C":
        return Crystal.from_cell(
            cell, [6, 6], [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]], id=id, source="stand-in"
        )
    metal = next(each for each in ("Mo", "Nb", "Ta", "W", "V") if formula.startswith(each))
    numbers = [get_atomic_numbers()[metal], *[get_atomic_numbers()[formula[len(metal) : -1]]] * 2]
    frac = [[0, 0, 0.5], [1 / 3, 2 / 3, 0.56], [1 / 3, 2 / 3, 0.44]]
    return Crystal.from_cell(cell, numbers, frac, id=id, source="stand-in")


def first_ring(crystal: Crystal) -> float:
    """Return the length of the shortest reciprocal-lattice vector."""
    return float(np.linalg.norm(np.linalg.inv(crystal.lattice).T, axis=1).min())


@dataclass
class StandIn:
    """A `SearchIndex`; `searches` keeps the arguments, `embedded` how many patterns were embedded together."""

    entries: list[Entry] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    embedded: list[int] = field(default_factory=list)
    closed: bool = False
    damage: Exception | None = None
    user_structure_count: int = 0
    match: Match | None = None
    probability: float | None = None
    verdict: Verdict | None = None
    set_size: int | None = None
    measurement: NextMeasurement | None = None

    def __post_init__(self) -> None:
        ids = iter(AWKWARD_IDS)
        crystals = [make_crystal("C", 2.46, "graphene"), make_crystal("MoS2", 3.16, "mos2")]
        crystals += [make_crystal(formula, a, next(ids)) for formula, a in _HEXAGONAL.items()]
        self.entries = [Entry.from_crystal(each, determine_symmetry(each), "MIT") for each in crystals]

    @property
    def manifest(self) -> Manifest:
        identity = ModelIdentity(MODEL, "stand-in", 1)
        return Manifest("2026-01-01", "0", identity, {}, len(self.entries), len(self.entries), 0)

    def get_entry(self, id: str) -> Entry:
        return {each.id: each for each in self.entries}[id]

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        assert len(spots) == len(voltage_kv)
        self.embedded.append(len(spots))
        return np.array([[len(each)] for each in spots], dtype=np.float32)

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
        assert vector is None or vector.tolist() == [len(spots)]
        arguments = {"spots": spots, "voltage_kv": voltage_kv, "elements": elements, "top_k": top_k}
        arguments |= {"coverage": coverage, "composition": composition, "lattice": lattice}
        self.searches.append({**arguments, "effort": effort})
        first = float(np.hypot(*spots.q_inv_angstrom.T).min())
        admitted = [each for each in self.entries if elements is None or elements.admits(each.elements)]
        similarity = {each.id: float(np.exp(-abs(first_ring(each.crystal) - first))) for each in admitted}
        candidates = [
            Candidate(each, similarity[each.id], match=self.match, probability=self.probability)
            for each in admitted
        ]
        candidates.sort(key=lambda candidate: -candidate.similarity)
        return SearchResult(
            candidates=tuple(candidates[:top_k]),
            timing_ms={"search": 0.1},
            verdict=self.verdict,
            confidence_set_size=self.set_size,
            next_measurement=self.measurement,
        )

    def check_canary(self) -> None:
        if self.damage is not None:
            raise self.damage

    def close(self) -> None:
        self.closed = True
