"""An opened index with its model: the operations that all search strategies share.

Axes: N crystals in the index, K of them found, D numbers a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from index.chemistry.composition import Composition
from index.chemistry.elements import ElementFilter
from index.encoder import Encoder
from index.search.query import Admission
from index.search.results import Candidate
from index.storage.components import Components
from index.storage.manifest import Manifest
from model.errors import IndexUnavailableError
from model.matching.confidence import CALIBRATIONS
from model.matching.place_candidates import compute_scale_tolerance
from model.matching.priors import CELL_SIGMA, SIMILARITY_WEIGHT
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Fetching three times as many rows as requested usually leaves enough once duplicates are merged.
_OVERFETCH = 3


@dataclass(frozen=True)
class Neighbors:
    """Crystals ordered by similarity, best first.

    Attributes:
        similarity: (K,) cosines, including the bonus of a measured composition.
        row: (K,) rows of the index.
    """

    similarity: FloatArray
    row: IntArray


@dataclass(frozen=True)
class OpenedIndex:
    """The components of an index and the encoder that made its vectors.

    Raises:
        IndexUnavailableError: the encoder makes vectors of another length.
    """

    manifest: Manifest
    components: Components
    encoder: Encoder

    def __post_init__(self) -> None:
        stored, made = self.components.vectors.dimension, self.encoder.dimension
        if stored != made:
            raise IndexUnavailableError(
                f"The index contains vectors of length {stored}, but the model's have length {made}; load the "
                "weights with which the index was built."
            )

    @property
    def user_structure_count(self) -> int:
        """Number of crystals appended to those of the files."""
        return len(self.components.catalog) - self.manifest.crystals

    def embed(self, spots: Sequence[Spots], voltage_kv: Sequence[float]) -> NDArray[np.float32]:
        """Return (P, D) vectors, one for each of P patterns."""
        return self.encoder.embed_spots(spots, voltage_kv)

    def admit(self, elements: ElementFilter | None, composition: Composition | None = None) -> Admission:
        """Return the crystals that the elements and a measured composition admit."""
        bits, compositions = self.components.bits, self.components.compositions
        allowed = bits.select(elements) if elements else None
        if composition is None:
            return Admission(allowed)
        likelihood = compositions.compute_log_likelihood(composition)
        possible = bits.pack_rows(compositions.list_possible(likelihood))
        # One unit of ln likelihood raises the ranking as much as the verification lets it.
        weight = CALIBRATIONS["verify"].temperature / SIMILARITY_WEIGHT
        return Admission(possible if allowed is None else possible & allowed, weight * likelihood)

    def count_admitted(self, admission: Admission) -> int:
        """Return how many crystals are admitted."""
        return len(self.components.bits.list_rows(admission.allowed))

    def find_nearest(self, vector: NDArray[np.float32], admission: Admission, count: int) -> Neighbors:
        """Return the admitted crystals nearest to a (D,) unit vector, at most `count`, without duplicates."""
        bonus = admission.bonus
        # A bonus may lift a crystal from far down, so all admitted ones are fetched then.
        fetched = _OVERFETCH * count if bonus is None else len(self.components.catalog)
        while True:
            scores, rows = self.components.vectors.search(vector, fetched, admission.allowed)
            if bonus is not None:
                scores = scores + bonus[rows].astype(np.float32)
                order = np.argsort(-scores, kind="stable")
                scores, rows = scores[order], rows[order]
            best = self.find_distinct(rows)[:count]
            if len(best) == count or len(rows) < fetched:
                return Neighbors(scores[best].astype(np.float64), rows[best])
            fetched *= 4

    def merge(self, first: Neighbors, second: Neighbors) -> Neighbors:
        """Merge two lists of neighbors by similarity, without duplicates."""
        similarity = np.concatenate([first.similarity, second.similarity])
        row = np.concatenate([first.row, second.row])
        order = np.argsort(-similarity, kind="stable")
        kept = order[self.find_distinct(row[order])]
        return Neighbors(similarity[kept], row[kept])

    def find_distinct(self, rows: IntArray) -> IntArray:
        """Return the positions, ascending, of the first crystal of each duplicate group in `rows`."""
        _, first = np.unique(self.components.catalog.groups[rows], return_index=True)
        return np.sort(first)

    def admit_fitting(self, basis: FloatArray, spots: Spots, admission: Admission) -> Admission:
        """Return the admitted crystals whose lattice, or a sublattice of it, fits the pattern's.

        Args:
            basis: (2, 2) rows a* and b* of the pattern, 1/angstrom.
            spots: the pattern; its scale is known.
            admission: the crystals admitted by the chemistry.
        """
        fitting = self.components.lattices.find_matches(basis, self.find_scale_tolerance(spots)).crystal
        bits = self.components.bits.pack_rows(fitting)
        if admission.allowed is not None:
            bits &= admission.allowed
        return Admission(bits, admission.bonus)

    def make_candidates(self, neighbors: Neighbors, admission: Admission) -> tuple[Candidate, ...]:
        """Return the candidates of neighbors, with their catalog entries and duplicates."""
        catalog, rows = self.components.catalog, neighbors.row
        bonuses = np.zeros(len(rows)) if admission.bonus is None else admission.bonus[rows]
        columns = zip(
            catalog.get_entries(rows),
            neighbors.similarity.tolist(),
            catalog.list_duplicates(rows),
            bonuses.tolist(),
            strict=True,
        )
        return tuple(
            Candidate(entry, score - bonus, same_as, bonus=bonus) for entry, score, same_as, bonus in columns
        )

    def list_cell_sigma(self, candidates: Sequence[Candidate]) -> FloatArray:
        """Return (C,) rms errors of the logarithm of each candidate's cell lengths."""
        return np.array([self.manifest.get_cell_sigma(candidate.entry.source) for candidate in candidates])

    def find_scale_tolerance(self, spots: Spots) -> float:
        """Return the largest deviation of the scale that a crystal implies from the pattern's, as a logarithm."""
        cell_sigma = max(self.manifest.largest_cell_sigma, CELL_SIGMA if self.user_structure_count else 0.0)
        return compute_scale_tolerance(hypot(spots.scale_sigma, cell_sigma))
